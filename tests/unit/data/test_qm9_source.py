"""QM9 comes out of a package: only the very files that are known are taken for it."""

from pathlib import Path

import pytest

from gapsmith.core.errors import DataError
from gapsmith.data import qm9


class Installed:
    """A package of the same name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder of data; the compact file is to be made anew."""
    monkeypatch.setenv("GAPSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(qm9, "distribution", lambda _: Installed(tmp_path))
    folder = tmp_path / "qm9pack" / "data"
    folder.mkdir(parents=True)
    return folder


def test_another_file_of_the_same_name_is_refused(package: Path) -> None:
    (package / "qm9_part1.csv").write_text("Index,Elements\n1,['C']\n")
    with pytest.raises(
        DataError, match=r"qm9_part1\.csv is not QM9's file: its SHA-256 is .*; install qm9pack 1\.0\.3"
    ):
        qm9.prepare()
    assert not qm9.path().exists()


def test_a_missing_file_says_what_to_install(package: Path) -> None:
    with pytest.raises(DataError, match=r"qm9_part1\.csv is missing; install its package"):
        qm9.prepare()
