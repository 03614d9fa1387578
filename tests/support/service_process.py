"""Services as their users start them: processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gapsmith.core.settings import Settings


@contextmanager
def serving(name: str, settings: Settings, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service that must be there at the end, and end cleanly then."""
    assert settings.postgres_url is not None
    env = {
        **os.environ,
        "GAPSMITH_HOME": str(settings.home),
        "GAPSMITH_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "GAPSMITH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap or "",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-m", "gapsmith.cli.main", name, "serve"], env=env, stderr=file)
        try:
            yield process
            assert process.poll() is None, log.read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


def wait_for(truth: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def loaded(log: Path) -> list[str]:
    """Ids of the models that a service took up, in order."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["model"] for line in lines if line["event"] == "model loaded"]
