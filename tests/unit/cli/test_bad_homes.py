"""Home folders that cannot be used: every command that needs one says so in one sentence, and leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gapsmith.cli.main import cli
from gapsmith.core.errors import GapsmithError
from gapsmith.core.settings import settings

COMMANDS = {
    "up": ["up"],
    "down": ["down"],
    "status": ["status"],
    "run": ["run", "examples/quickstart.yaml"],
    "dashboard": ["dashboard", "--port", "0"],
    "token": ["token", "list"],
    "query": ["query"],
}
HARMLESS = {"down", "status"}  # nothing runs there, which is all that they say


def _homes(folder: Path) -> dict[str, Path]:
    (folder / "file").write_text("mine")
    (folder / "open").mkdir(mode=0o755)
    (folder / "open").chmod(0o755)
    return {
        "a file": folder / "file",
        "in a file": folder / "file" / "home",
        "too long": folder / ("h" * 300),
        "read-only": Path("/proc/gapsmith"),
        "open": folder / "open",
    }


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings are read again; no server is named."""
    for name in ("POSTGRES_URL", "KAFKA_BOOTSTRAP", "CELERY_BROKER_URL"):
        monkeypatch.delenv(f"GAPSMITH_{name}", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("kind", ["a file", "in a file", "too long", "read-only", "open"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_home_that_cannot_be_used_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    home = _homes(tmp_path)[kind]
    monkeypatch.setenv("GAPSMITH_HOME", str(home))
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(cli, COMMANDS[name], standalone_mode=False)
    if name in HARMLESS and done.exception is None:
        assert done.output.strip()
    else:
        assert isinstance(done.exception, GapsmithError), done.exception
        text = str(done.exception)
        assert str(home) in text
        assert "\n" not in text
        assert "GAPSMITH_HOME" in text or "chmod 700" in text
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "stack.lock"] == before
