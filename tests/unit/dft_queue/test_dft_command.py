"""``gapsmith dft`` before it needs a server: its options, its levels, what it refuses at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gapsmith.cli.main import cli
from gapsmith.core.errors import InputError
from gapsmith.core.levels import shipped

MINE = """
levels:
  cheap:
    about: a small basis set
    extends: triage
    basis: sto-3g
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["dft", *map(str, words)])


def test_levels_lists_the_shipped_ones_and_a_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    lines = [line.split("\t") for line in run("levels").output.splitlines()]
    assert lines[0] == ["level", "about", "engine", "method", "basis", "relaxation", "properties"]
    assert [line[0] for line in lines[1:]] == list(shipped())
    own = run("levels", "--levels", tmp_path / "mine.yaml").output
    assert "cheap\ta small basis set\tpyscf\tb3lypg\tsto-3g\tgfn2-xtb\t" in own


def test_help_names_both_uses() -> None:
    assert "gapsmith dft levels" in run("--help").output
    assert "--levels" in run("levels", "--help").output
    assert run().exit_code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.sdf"], "none.sdf does not exist"),
        (["a.smi", "--level", "triag"], "no level of theory is called 'triag'; there is: xtb"),
        (["a.smi", "--levels", "none.yaml"], "none.yaml: no such file"),
        (["a.smi", "-o", "out.txt"], "the ending '.txt'"),
        (["a.smi", "-o", "none/out.csv"], "mkdir -p"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("GAPSMITH_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.smi").write_text("C\n")
    result = run(*words)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not home.exists()
