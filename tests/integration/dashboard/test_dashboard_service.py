"""The dashboard as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from gapsmith.core.settings import settings as cached
from gapsmith.dashboard.cli import dashboard as command
from gapsmith.stack import dashboard as address
from gapsmith.stack.processes import wait_until
from gapsmith.store import heartbeats
from gapsmith.store.database import Database

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.timeout(600)]
SERVE = "from gapsmith.core.settings import Settings; from gapsmith.dashboard.service import main; main(Settings())"
START_S = 240.0  # of a busy machine


@contextmanager
def process(home: Path, database: Database, port: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
    variables = {
        "GAPSMITH_HOME": str(home),
        "GAPSMITH_POSTGRES_URL": database.url,
        "GAPSMITH_DASHBOARD_PORT": str(port),
    }
    with (home / "log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-c", SERVE], env={**os.environ, **variables}, stderr=log)
        try:
            assert wait_until(lambda: address.url(home) is not None or child.poll() is not None, START_S)
            assert child.poll() is None, (home / "log").read_text()
            yield child
        finally:
            child.kill()
            child.wait()


def hosts(database: Database) -> list[str]:
    """Of the processes that beat."""
    with database.transaction() as connection:
        return [one.host for one in heartbeats.alive(connection)]


def test_it_serves_beats_and_ends_when_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process(tmp_path, database) as child:
        url = address.url(tmp_path)
        assert url is not None
        assert httpx.get(f"{url}/readyz", timeout=60).text == "ready\n"
        assert wait_until(lambda: hosts(database) == [socket.gethostname()], START_S)
        monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path))
        cached.cache_clear()
        try:
            assert CliRunner().invoke(command, []).output == f"{url}\n"
        finally:
            cached.cache_clear()
        with httpx.stream(
            "GET", f"{url}/live/campaigns", timeout=60
        ) as watching:  # a browser that watches holds up nothing
            next(watching.iter_lines())
            child.send_signal(signal.SIGTERM)
            assert child.wait(120) == 0
    assert address.url(tmp_path) is None
    assert hosts(database) == []


def test_a_taken_port_is_no_obstacle(database: Database, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process(tmp_path, database, port):
            url = address.url(tmp_path)
    assert url is not None
    assert port < int(url.rpartition(":")[2]) <= port + 100


def test_a_killed_one_is_not_taken_for_a_running_one(database: Database, tmp_path: Path) -> None:
    with process(tmp_path, database) as child:
        child.kill()
        child.wait()
        assert (tmp_path / "dashboard.json").exists()
        assert address.url(tmp_path) is None
