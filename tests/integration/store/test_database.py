"""What a database says that does not let one in."""

import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from gapsmith.core.errors import UnavailableError
from gapsmith.store.database import Database
from gapsmith.store.migrate import migrate

pytestmark = pytest.mark.service


def problem(url: str, timeout_s: float = 30.0) -> str:
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
    assert time.monotonic() - began < 15
    assert "refuses the connection: " in text
    assert said in text
    assert "GAPSMITH_POSTGRES_URL" in text
    assert "cannot be reached" not in text
    assert "wrong" not in text


def test_a_migration_tells_a_refusal_too(postgres_url: str) -> None:
    with pytest.raises(UnavailableError, match="refuses the connection: password authentication failed"):
        migrate(make_conninfo(postgres_url, password="wrong"))


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
