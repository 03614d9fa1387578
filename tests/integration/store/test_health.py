"""The health check that containers ask, against a real Postgres."""

import socket
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from gapsmith.cli.main import cli
from gapsmith.core.settings import settings
from gapsmith.store import heartbeats
from gapsmith.store.database import Database

pytestmark = pytest.mark.service

Check = Callable[[str], Result]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    """``gapsmith generator healthy`` with the database at a URL."""

    def ask(url: str) -> Result:
        monkeypatch.setenv("GAPSMITH_POSTGRES_URL", url)
        settings.cache_clear()
        return CliRunner().invoke(cli, ["generator", "healthy"])

    yield ask
    settings.cache_clear()


def test_a_service_is_healthy_while_it_beats(database: Database, check: Check) -> None:
    host = socket.gethostname()
    assert check(database.url).exit_code == 1
    with database.transaction() as connection:
        heartbeats.beat(connection, "generator", "idle", host=f"{host}0")  # of another host
        heartbeats.beat(connection, "trainer", "idle")
    assert "no heartbeat" in check(database.url).stderr
    with database.transaction() as connection:
        heartbeats.beat(connection, "generator", "idle")
    assert check(database.url).exit_code == 0
    with database.transaction() as connection:
        connection.execute("UPDATE heartbeats SET seen_at = now() - interval '1 minute'")
    late = check(database.url)
    assert (late.exit_code, late.stderr) == (1, "generator was last heard of 60 s ago\n")


def test_a_silent_database_is_a_reason_not_a_traceback(check: Check) -> None:
    result = check("postgresql://nobody@127.0.0.1:1/none")
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
