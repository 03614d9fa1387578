"""``gapsmith evaluate generator`` as people run it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gapsmith.cli.main import cli
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.output import sdf_record
from gapsmith.generator.evaluation import real

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "data" / "generator-tiny.safetensors"
SURROGATE = ROOT / "services" / "surrogate" / "gapsmith" / "surrogate" / "weights" / "surrogate-0.safetensors"
PNG = b"\x89PNG"


def evaluate(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "generator", "--threads", "1", *map(str, words)])


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    path = tmp_path / "others.sdf"
    path.write_text("".join(sdf_record(one, "", {}) for one in real.molecules(12, 4)) + "broken\n$$$$\n")
    return path


def test_a_file_of_real_molecules(tmp_path: Path, molecules: Path) -> None:
    folder = tmp_path / "deep" / "results"
    result = evaluate(molecules, "-o", folder)
    assert result.exit_code == 0, (result.exception, result.output)
    assert "record 13 (line 531): it is not a mol block" in result.stderr
    whole = json.loads((folder / "quality.json").read_text())
    assert list(whole["rows"]) == ["others.sdf", "QM9"]
    ours = whole["rows"]["others.sdf"]
    assert ours["attempts"] == 13
    assert ours["valid"] == ours["connected"] == round(12 / 13, 4)
    assert ours["novel"] == 0.0
    assert ours["refused"] == {"unreadable": 1}
    assert ours["plausibility"]["passed"] > 0.8
    assert ours["distances"]["bond_length_angstrom"] < 0.02
    assert whole["rows"]["QM9"]["valid"] == 1.0
    assert whole["versions"]["posebusters"]
    assert whole["split_sha256"]["second"]
    assert (folder / "quality.png").read_bytes().startswith(PNG)
    for words in ("molecule stability", "PoseBusters passed, %", "not valid in others.sdf: unreadable 1"):
        assert words in result.stdout


def test_a_generator_with_wanted_gaps(tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    shutil.copy(TINY, weights)
    shutil.copy(TINY.with_suffix(".json"), weights.with_suffix(".json"))
    options: list[str | Path] = [
        "--molecules",
        "8",
        "--steps",
        "4",
        "--gap",
        "5",
        "--posebusters",
        "0",
        "--evaluator",
        SURROGATE,
        "--card",
    ]
    result = evaluate("--weights", weights, *options, "-o", tmp_path)
    assert result.exit_code == 0, (result.exception, result.output)
    whole = json.loads((tmp_path / "quality.json").read_text())
    assert list(whole["rows"]) == ["any gap", "5 eV", "QM9"]
    for name in ("any gap", "5 eV"):
        row = whole["rows"][name]
        assert row["attempts"] == 8
        assert row["speed"]["attempts_per_s"] > 0
        assert sum(row["refused"].values()) == 8 - round(8 * row["valid"])
    asked = whole["conditional"]
    assert asked["targets"] == 8
    assert asked["scored"] + sum(asked["failed"].values()) == 8
    assert asked["floor_ev"] < asked["random_ev"]
    assert whole["settings"]["sampling"]["steps"] == 4
    assert "mean absolute error of the gap" in result.stdout
    assert "do not compare these" in result.stdout  # that network learned from the generator's half too
    assert json.loads(weights.with_suffix(".json").read_text())["quality"]["conditional"] == asked


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["nowhere.sdf"], InputError, "nowhere.sdf does not exist"),
        (["--weights", "nowhere.safetensors"], CheckpointError, "nowhere.safetensors is missing"),
        (["--weights", TINY, "--evaluator", "nowhere.safetensors"], CheckpointError, "nowhere.safetensors is missing"),
        (["--gap", "nan"], InputError, "--gap: nan is not a finite number"),
        (["a.sdf", "--card"], InputError, "has no card"),
        (["--device", "abacus"], InputError, "--device: 'abacus' cannot be used"),
    ],
)
def test_errors_write_nothing(tmp_path: Path, words: list[str], error: type[Exception], message: str) -> None:
    folder = tmp_path / "results"
    result = evaluate(*words, "-o", folder)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not folder.exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path, molecules: Path) -> None:
    result = evaluate(molecules, "-o", molecules / "results")
    assert isinstance(result.exception, InputError)
    assert "is a file; name a folder" in str(result.exception)


def test_help_is_quick_and_an_unknown_model_is_named() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from gapsmith.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['evaluate', 'generator', '--help']); assert 'Usage' in result.output\n"
        "sys.exit(bool({'torch', 'rdkit', 'posebusters', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
    result = CliRunner().invoke(cli, ["evaluate", "nothing"])
    assert result.exit_code == 2
    assert "No such command 'nothing'" in result.output
