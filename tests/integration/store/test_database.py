"""What a database says that does not let one in."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gapsmith.core.errors import ErrorCode, UnavailableError
from gapsmith.store.database import Database
from gapsmith.store.migrate import migrate

pytestmark = pytest.mark.service


def problem(url: str, timeout_s: float = 300.0) -> str:
    with (
        Database(url, connections=1, timeout_s=timeout_s) as database,
        pytest.raises(UnavailableError) as caught,
        database.transaction(),
    ):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "password authentication failed for user"),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
def test_a_refusal_is_told_at_once_and_is_not_an_unreachable_server(
    postgres_url: str, change: dict[str, str], said: str
) -> None:
    began = time.monotonic()
    text = problem(make_conninfo(postgres_url, **change))
    assert time.monotonic() - began < 120  # not after the time that an unreachable server gets
    assert "refuses the connection: " in text
    assert said in text
    assert "GAPSMITH_POSTGRES_URL" in text
    assert "cannot be reached" not in text
    assert "wrong" not in text


def test_a_migration_tells_a_refusal_too(postgres_url: str) -> None:
    with pytest.raises(UnavailableError, match="refuses the connection: password authentication failed"):
        migrate(make_conninfo(postgres_url, password="wrong"))


def test_a_database_of_an_earlier_development_version_is_told_in_one_sentence(
    postgres_url: str, service_folder: Path
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0015'")
    servers = {
        "POSTGRES_URL": postgres_url,
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "gapsmith.cli.main", "migrate"],
        env={**os.environ, **{f"GAPSMITH_{name}": value for name, value in servers.items()}},
        cwd=service_folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == ErrorCode.CONFLICT.exit_code
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    for said in ("earlier development version", "0015", "GAPSMITH_POSTGRES_URL", "gapsmith down"):
        assert said in ended.stderr
    assert str(conninfo_to_dict(postgres_url)["password"] or "") not in ended.stderr
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0015",)]


def test_an_unreachable_server_is_named_with_the_reason(postgres_url: str) -> None:
    text = problem(make_conninfo(postgres_url, port="1"), timeout_s=2.0)
    assert ":1/" in text
    assert "cannot be reached" in text
    assert "refused" in text.lower()


def test_an_error_in_the_block_is_not_taken_for_the_connection(postgres_url: str) -> None:
    with Database(postgres_url) as database:
        with pytest.raises(psycopg.errors.DivisionByZero), database.transaction() as connection:
            connection.execute("SELECT 1 / 0")
        with database.transaction() as connection:
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
