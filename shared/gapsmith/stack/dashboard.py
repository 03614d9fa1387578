"""Where the dashboard of a home folder is, for whoever wants to print or open its address."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gapsmith.stack.processes import ProcessRecord, wait_until
from gapsmith.training.files import write_atomically

SERVICE = "dashboard"  # a convenience: a campaign goes on without it


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)
    process: ProcessRecord
    url: str


def write(home: Path, url: str) -> None:
    """Say that this process serves the dashboard there."""
    process = ProcessRecord.of(os.getpid())
    assert process is not None  # this very process
    write_atomically(_file(home), _Record(process=process, url=url).model_dump_json().encode())


def url(home: Path) -> str | None:
    """Address of the running dashboard; None if none runs."""
    record = _read(home)
    return record.url if record is not None and record.process.process() is not None else None


def wait(home: Path, within_s: float) -> str | None:
    """Address of the dashboard as soon as it serves; None if it does not within some seconds."""
    wait_until(lambda: url(home) is not None, within_s, interval_s=0.2)
    return url(home)


def own(home: Path) -> str | None:
    """Address at which this very process serves; None if it does not."""
    record = _read(home)
    return record.url if record is not None and record.process.pid == os.getpid() else None


def remove(home: Path) -> None:
    """Say that this process does not serve any more; another one's word stays."""
    if own(home) is not None:
        _file(home).unlink(missing_ok=True)


def _read(home: Path) -> _Record | None:
    try:
        return _Record.model_validate_json(_file(home).read_bytes())
    except (OSError, ValidationError):
        return None


def _file(home: Path) -> Path:
    return home / "dashboard.json"
