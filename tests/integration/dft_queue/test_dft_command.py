"""``gapsmith dft`` as its user runs it: embedded servers, real workers, real chemistry, an interruption in the middle."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from rdkit import Chem

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.data import qm9
from gapsmith.stack.machine import service_pid
from gapsmith.stack.stack import EmbeddedStack

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]
PATIENCE_S = 200.0


@pytest.fixture
def home(service_folder: Path) -> Iterator[Path]:
    """A home of its own."""
    folder = service_folder / f"dft-{uuid4().hex[:6]}"
    yield folder
    EmbeddedStack(folder).down()


def start(home: Path, *words: object) -> "subprocess.Popen[str]":
    """A command, as a child."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GAPSMITH_")}
    cache = os.environ.get("GAPSMITH_CACHE", str(Path.home() / ".cache" / "gapsmith"))
    return subprocess.Popen(
        [sys.executable, "-m", "gapsmith.cli.main", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "GAPSMITH_HOME": str(home), "GAPSMITH_CACHE": cache, "OMP_NUM_THREADS": "1"},
    )


def finished(command: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit code, output and errors."""
    out, errors = command.communicate(timeout=PATIENCE_S)
    return command.returncode, out, errors


def table(text: str) -> dict[str, dict[str, str]]:
    """Rows of a CSV by name."""
    return {row["name"]: row for row in csv.DictReader(text.splitlines())}


def molecules_of_qm9(file: Path, count: int) -> dict[str, float]:
    """QM9's first molecules at QM9's geometries, and a broken one; their gaps there, in eV."""
    source = qm9.load()
    gaps = {}
    with file.open("w") as stream:
        for molecule in range(count):
            atoms = source.atoms(molecule)
            stream.write(f"{atoms.stop - atoms.start}\nqm9-{molecule}\n")
            for number, position in zip(source.numbers[atoms], source.coordinates[atoms], strict=True):
                stream.write(f"{SYMBOLS[number]} {' '.join(f'{x:.6f}' for x in position)}\n")
            gaps[f"qm9-{molecule}"] = float(source.properties["gap_ev"][molecule])
        stream.write("1\nbroken\nC 0 0\n")
    return gaps


def test_an_interrupted_file_is_taken_up_where_it_was(home: Path, tmp_path: Path) -> None:
    file, results = tmp_path / "qm9.xyz", tmp_path / "results.csv"
    expected = molecules_of_qm9(file, 8)
    words = ("dft", file, "--level", "single-point", "-o", results, "--workers", 1)
    first = start(home, *words)
    deadline = time.monotonic() + PATIENCE_S
    while service_pid(home, "dft_worker") is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3.0)
    first.send_signal(signal.SIGINT)
    code, _, errors = finished(first)
    assert code == 130, errors
    assert "the same command takes up where it was" in errors
    assert not results.exists()
    assert EmbeddedStack(home).find() is None  # what it started it stopped

    code, out, errors = finished(start(home, *words))
    assert code == 1, errors  # the broken one
    assert out == ""
    assert re.search(r"refused: broken: .*should be an element and x y z, not 'C 0 0'", errors), errors
    found = table(results.read_text())
    assert list(found) == [*expected, "broken"]
    assert found.pop("broken")["state"] == "refused"
    for name, gap_ev in expected.items():
        assert (found[name]["state"], found[name]["level"]) == ("done", "single-point")
        assert float(found[name]["gap_ev"]) == pytest.approx(gap_ev, abs=0.015)
    spent = {row["calculation_id"]: float(row["cpu_s"]) for row in found.values()}
    assert len(spent) == len(expected)

    code, out, errors = finished(start(home, *words[:-4], "-o", "-"))  # nothing to do: nobody is started
    assert "workers compute" not in errors
    again = table(out)
    assert {row["calculation_id"] for name, row in again.items() if name != "broken"} == set(spent)
    assert all(row["reused"] == "true" for name, row in again.items() if name != "broken")
    assert "0.0 CPU-seconds" in errors


def test_jobs_are_queued_for_others_and_an_sdf_of_the_cheap_level_comes_back(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("O water\nCCO ethanol\nCC(=O)[O-] acetate\n")
    (tmp_path / "bad.csv").write_text("name,mass\nwater,18\n")  # no column of SMILES
    words = (tmp_path / "a.smi", tmp_path / "bad.csv", "--level", "xtb", "--no-wait")
    code, out, errors = finished(start(home, "dft", *words))
    assert (code, out) == (1, "")  # the good ones are queued all the same
    assert f"refused: {tmp_path / 'bad.csv'}: " in errors
    assert "3 queued, 1 refused; 0.0 CPU-seconds" in errors
    code, out, errors = finished(start(home, "dft", tmp_path / "a.smi", "--level", "xtb", "-o", tmp_path / "out.sdf"))
    assert code == 0, errors
    read = list(Chem.SDMolSupplier(str(tmp_path / "out.sdf"), removeHs=False))
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in read] == ["O", "CCO", "CC(=O)[O-]"]
    assert all(mol.GetProp("state") == "done" for mol in read)
    water = read[0].GetConformer().GetPositions()
    assert 0.95 < ((water[0] - water[1]) ** 2).sum() ** 0.5 < 0.97  # GFN2-xTB's water


def test_of_two_at_once_the_one_that_stays_goes_on_alone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "few.smi").write_text("O water\nC methane\n")
    (tmp_path / "more.smi").write_text("".join(f"{'C' * length}O alcohol-{length}\n" for length in range(1, 4)))
    first = start(home, "dft", tmp_path / "few.smi", "--level", "xtb", "-o", tmp_path / "few.csv")
    deadline = time.monotonic() + PATIENCE_S
    while service_pid(home, "dft_worker") is None and time.monotonic() < deadline:
        time.sleep(0.1)
    second = start(home, "dft", tmp_path / "more.smi", "--level", "triage", "-o", tmp_path / "more.csv")
    for command, name, count in ((first, "few.csv", 2), (second, "more.csv", 3)):
        code, _, errors = finished(command)
        assert code == 0, errors
        assert [row["state"] for row in table((tmp_path / name).read_text()).values()] == ["done"] * count
    assert EmbeddedStack(home).find() is None
