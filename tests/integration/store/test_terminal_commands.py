"""Every command that prints a table shows data as it is, on a terminal and in a pipe."""

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest
from carbonyls import fill

from gapsmith.cli.main import cli
from gapsmith.core.settings import settings
from gapsmith.store.database import Database

pytestmark = pytest.mark.service

DATA = "[bold]x [nH] :smile: \x1b]0;y\x07"
SHOWN = "[bold]x [nH] :smile: \\x1b]0;y\\x07"
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """Text that would be markup, an emoji or a control sequence, wherever a command prints text."""
    fill(module_database)
    with module_database.transaction() as connection:
        connection.execute("UPDATE candidates SET reason = %s WHERE state IN ('failed', 'rejected')", (DATA,))
        connection.execute("UPDATE campaigns SET stop_reason = %s, state = 'finished'", (DATA,))
        connection.execute("UPDATE models SET verdict = %s", (DATA,))
        connection.execute("UPDATE molecules SET smiles = %s WHERE smiles = 'CC=O'", (DATA,))
        connection.execute("UPDATE calculations SET started_at = now(), finished_at = now(), wall_s = 1")
        connection.execute("SET LOCAL session_replication_role = replica")  # what is done does not fail by itself
        connection.execute(
            """UPDATE calculations SET state = 'failed', failure_class = 'chemistry', failure_reason = %s
               WHERE id = (SELECT triage_id FROM candidates WHERE certificate_id IS NOT NULL LIMIT 1)""",
            (DATA,),
        )
    return module_database


@pytest.fixture
def asked(filled: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database as the one of the settings."""
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", filled.url)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERM", "xterm-256color")
    settings.cache_clear()
    yield filled
    settings.cache_clear()


@pytest.mark.parametrize("stream", [Screen, io.StringIO])
@pytest.mark.parametrize(
    "words",
    [
        ("query", "--state", "all"),
        ("query", "--state", "all", "--fields", "smiles,reason"),
        ("campaign", "list"),
        ("campaign", "show", "carbonyls"),
        ("jobs", "list"),
        ("models", "list"),
    ],
    ids=" ".join,
)
def test_data_is_shown_as_it_is(asked: Database, words: tuple[str, ...], stream: type[io.StringIO]) -> None:
    with redirect_stdout(stream()) as out, redirect_stderr(out):
        cli.main(list(words), standalone_mode=False)
    text = STYLE.sub("", out.getvalue())
    assert SHOWN in text, text
    assert not {"\x1b", "\x07"} & set(text)
