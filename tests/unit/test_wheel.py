"""A wheel has every file of the package: code, weights, levels, migrations, and the files of the dashboard."""

import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without the package index."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        ROOT,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("gapsmith-*.whl")
    return zipfile.ZipFile(path)


def test_it_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    roots = [ROOT / "shared", *(ROOT / "services").iterdir()]
    files = [(root, path) for root in roots for path in (root / "gapsmith").rglob("*") if path.is_file()]
    wanted = {path.relative_to(root).as_posix() for root, path in files if "__pycache__" not in path.parts}
    kinds = {name.rpartition(".")[2] for name in wanted}
    assert {"py", "safetensors", "yaml", "html", "css", "js"} <= kinds
    assert wanted <= set(wheel.namelist())


def test_it_has_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"gapsmith"}


def test_it_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert metadata["Name"] == "gapsmith"
    assert metadata["License-Expression"] == "Apache-2.0"
    (points,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "gapsmith = gapsmith.cli.main:main" in wheel.read(points).decode()
