"""Pid files: who runs a service, written so that a later process with the same number is not taken for it."""

import contextlib
from pathlib import Path

from pydantic import ValidationError

from gapsmith.stack.processes import ProcessRecord
from gapsmith.stack.state import write_private


class PidFile:
    """One service's pid file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, pid: int) -> None:
        """Write down a process that was just started."""
        if (record := ProcessRecord.of(pid)) is not None:
            write_private(self.path, record.model_dump_json())

    def read(self) -> ProcessRecord | None:
        """The process, if it lives."""
        try:
            record = ProcessRecord.model_validate_json(self.path.read_text())
        except (OSError, ValidationError):
            return None
        return record if record.process() is not None else None

    def remove(self) -> None:
        """Forget it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
