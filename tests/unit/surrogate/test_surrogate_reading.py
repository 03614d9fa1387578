"""Molecules out of files of every format; the bad ones are named and the rest goes on."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from model_cards import as_role

from gapsmith.core.errors import InputError
from gapsmith.surrogate import ROLE
from gapsmith.surrogate.cli import predict
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.trainable import build
from gapsmith.training.checkpoint import save_model

WATER = "O 0 0 0.12\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, small: SimpleNamespace) -> Path:
    torch.manual_seed(0)
    config = small.configuration()
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_model(file, build(config), **as_role(ROLE), config=config, card={})
    return file


def run(*words: object, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(predict, [str(word) for word in words], input=given, catch_exceptions=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_smiles_are_embedded_and_relaxed(weights: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "a.smi", tmp_path / "out.csv"
    file.write_text("O water\n\nCl chloride\nC1CC bad\n[NH4+] cation\n")
    result = run(file, "-o", out, "--weights", weights, "--threads", 1)
    assert "1 molecules predicted, 3 with an error" in result.output
    assert result.exit_code == 1
    found = {row["name"]: row for row in rows(out)}
    assert list(found) == ["water", "chloride", "bad", "cation"]
    assert found["chloride"]["error"] == "it has Cl; the model knows H, C, N, O, F"
    assert "'C1CC' is not a valid SMILES: SMILES Parse Error: unclosed ring" in found["bad"]["error"]
    assert "its charge is +1" in found["cation"]["error"]
    assert found["bad"]["gap_ev"] == ""
    water = found["water"]
    assert float(water["gap_ev_low90"]) < float(water["gap_ev"]) < float(water["gap_ev_high90"])
    assert water["out_of_distribution"] in ("true", "false")
    charges = [float(x) for x in water["mulliken_charge_e"].split()]
    assert len(charges) == 3
    assert sum(charges) == pytest.approx(0, abs=1e-4)
    assert "gfn2_forces_ev_per_angstrom" not in water


def test_geometries_are_taken_as_they_are(weights: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "a.xyz", tmp_path / "out.csv"
    file.write_text(
        f"3\nfirst\n{WATER}2\nclash\nC 0 0 0\nO 0 0 0\n1\nstrange\nQq 0 0 0\n"
        f"3\nnan\n{WATER.replace('0.12', 'nan')}3\nlast\n{WATER}"
    )
    run(file, "-o", out, "--weights", weights, "--threads", 1)
    found = rows(out)
    assert [row["name"] for row in found] == ["first", "clash", "strange", "nan", "last"]
    assert "atoms 1 and 2 (C and O; the first is 1) are 0.000 angstrom apart" in found[1]["error"]
    assert found[2]["error"] == "line 12, atom 1 of 1 should be an element and x y z, not 'Qq 0 0 0'"
    assert "not finite" in found[3]["error"]
    assert found[0]["gap_ev"] == found[4]["gap_ev"]
    numbers = np.array([8, 1, 1])
    coordinates = np.array([[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
    expected = Predictor.load(weights).predict([(numbers, coordinates)])
    assert float(found[0]["gap_ev"]) == pytest.approx(expected.mean_ev[0], abs=1e-5)
    assert float(found[0]["dipole_debye_std"]) == pytest.approx(expected.heads["dipole_debye"].std[0], abs=1e-5)


def test_where_nothing_can_be_written_nothing_is_computed(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("C\n")
    with pytest.raises(InputError, match=r"'\.txt'; the ending says the format: \.csv"):
        run(tmp_path / "a.smi", "-o", tmp_path / "out.txt", "--weights", weights)
    with pytest.raises(InputError, match="mkdir -p"):
        run(tmp_path / "a.smi", "-o", tmp_path / "none" / "out.csv", "--weights", weights)


def test_a_file_without_molecules_is_named_and_nothing_is_written(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("\n")
    with pytest.raises(InputError, match=r"a\.smi is empty"):
        run(tmp_path / "a.smi", "-o", tmp_path / "o.csv", "--weights", weights, "--threads", 1)
    assert not (tmp_path / "o.csv").exists()


def test_columns_can_be_named_and_notes_are_kept(weights: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "a.csv", tmp_path / "out.csv"
    file.write_text("smiles,mine,code\nC,[2H]O[2H],w1\n")
    words = ("--smiles-column", "mine", "--name-column", "code", "--threads", 1)
    run(file, "-o", out, "--weights", weights, *words)
    (row,) = rows(out)
    assert (row["name"], row["atoms"], row["error"]) == ("w1", "3", "")
    assert row["notes"] == "isotopes are not told apart: 2H"


def test_what_dft_refuses_is_not_predicted(weights: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "a.xyz", tmp_path / "out.csv"
    moved = WATER.replace("O 0 0", "O 5 0").replace("H 0", "H 5")
    bohr = "O 0 0 0.23\nH 0 1.44 -0.89\nH 0 -1.44 -0.89\n"
    carbons = "".join(
        f"C {x} {y} 0\n" for x, y in ((0, 1.4), (1.21, 0.7), (1.21, -0.7), (0, -1.4), (-1.21, -0.7), (-1.21, 0.7))
    )
    file.write_text(
        f"6\npieces\n{WATER}{moved}3\nbohr\n{bohr}6\nbenzene\n{carbons}2\nradical\nO 0 0 0\nH 0 0 0.97\n3\n1 2\n{WATER}"
    )
    result = run(file, "-o", out, "--weights", weights, "--threads", 1)
    assert "0 molecules predicted, 5 with an error" in result.output
    words = [
        "in 2 pieces",
        "look like bohr",
        "hydrogens are missing",
        "9 electrons cannot have 0 unpaired",
        "charge is +1",
    ]
    for row, reason in zip(rows(out), words, strict=True):
        assert reason in row["error"]
        assert row["gap_ev"] == ""
    assert "charge 1 and multiplicity 2 are its comment's" in rows(out)[-1]["notes"]


def test_a_smiles_is_an_argument_and_a_pipe_gets_csv(weights: Path) -> None:
    result = run("O", "c1ccccc1O", "--weights", weights, "--threads", 1)
    assert result.exit_code == 0
    found = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["smiles"] for row in found] == ["O", "c1ccccc1O"]
    assert [row["atoms"] for row in found] == ["3", "13"]
    assert "2 molecules predicted, 0 with an error" in result.stderr


def test_standard_input_and_output(weights: Path) -> None:
    result = run("-", "-o", "-", "--weights", weights, "--threads", 1, given="O water\nC methane\n")
    assert result.exit_code == 0
    assert [row["name"] for row in csv.DictReader(result.stdout.splitlines())] == ["water", "methane"]
    table = run("-", "--format", "csv", "--weights", weights, "--threads", 1, given="mol_id,smiles,pka\n7,O,15.7\n")
    (row,) = csv.DictReader(table.stdout.splitlines())
    assert (row["name"], row["smiles"], row["pka"]) == ("7", "O", "15.7")


def test_other_columns_are_kept_and_ours_do_not_overwrite_them(weights: Path, tmp_path: Path) -> None:
    first, second, out = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "out.csv"
    first.write_text('smiles,name,vendor,gap_ev\nO,water,"Acme, Ltd",12.6\nC1CC,bad,Other,1\n')
    second.write_text("name,smiles,batch\nmethane,C,5\n")
    result = run(first, second, "-o", out, "--weights", weights, "--threads", 1)
    assert result.exit_code == 1
    water, bad, methane = rows(out)
    assert (water["vendor"], water["input_gap_ev"], water["batch"]) == ("Acme, Ltd", "12.6", "")
    assert float(water["gap_ev_std"]) > 0
    assert (bad["vendor"], bad["gap_ev"]) == ("Other", "")
    assert bad["error"]
    assert (methane["batch"], methane["vendor"], methane["error"]) == ("5", "", "")


def test_a_source_that_cannot_be_read_is_a_row_beside_others(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "good.smi").write_text("O water\n")
    missing, out = tmp_path / "missing.smi", tmp_path / "out.csv"
    result = run(missing, tmp_path / "good.smi", "nosuchthing", "-o", out, "--weights", weights, "--threads", 1)
    assert result.exit_code == 1
    lost, water, strange = rows(out)
    assert str(missing) in lost["error"]
    assert water["error"] == ""
    assert "no such file" in strange["error"]
    with pytest.raises(InputError, match=r"missing\.smi"):
        run(missing, "-o", out, "--weights", weights, "--threads", 1)
