"""A run of pytest ends with what was skipped and why, in one process and in several."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skipped_tests

pytestmark = pytest.mark.slow
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(3))
@pytest.mark.skip(reason="MOPAC is not installed")
def test_program(number): ...

@pytest.mark.skipif(True, reason="only root can mount")
def test_root(): ...

def test_package():
    pytest.importorskip("no_such_package")

def test_passes(): ...
"""


def run(folder: Path, *options: str) -> str:
    """What pytest prints of the tests above."""
    (folder / "test_some.py").write_text(TESTS)
    support = str(Path(skipped_tests.__file__).parent)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "skipped_tests",
        "-p",
        "no:cacheprovider",
        *options,
        str(folder),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = support
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_reasons_are_counted_with_the_command_that_installs_what_is_missing(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    told = [" ".join(line.split()) for line in run(tmp_path, *options).splitlines()]
    assert "3 MOPAC is not installed" in told
    assert "1 only root can mount" in told
    assert "1 could not import 'no_such_package': No module named 'no_such_package'" in told
    assert "to run them: apt-get install --no-install-recommends mopac && make dev" in told


def test_the_last_of_several_runs_tells_of_all(tmp_path: Path) -> None:
    file = tmp_path / "skipped.json"
    run(tmp_path, "--skipped", str(file), "-k", "program")
    told = run(tmp_path, "--skipped", str(file), "-k", "root or passes")
    assert "    3 MOPAC is not installed\n" in told
    assert "    1 only root can mount\n" in told


def test_a_run_without_skipped_tests_says_nothing(tmp_path: Path) -> None:
    assert "skipped tests" not in run(tmp_path, "-k", "passes")
