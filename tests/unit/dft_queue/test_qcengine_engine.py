"""MOPAC through QCEngine, end to end; and results of the kinds that other programs give."""

import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qcelemental.models.v1 import AtomicResult

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.engines.mopac import failure
from gapsmith.dft_queue.engines.qcengine_result import NO_GAP, found
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.qcschema import input_fields

MOPAC = shutil.which("mopac")
needs_mopac = pytest.mark.skipif(MOPAC is None, reason="MOPAC is not installed")
KCAL_MOL = 1 / 627.5095
BENT = np.array([[0.02, -0.01, 0.12], [0.0, 0.81, -0.44], [0.05, -0.73, -0.5]])


def level(**keys: Any) -> LevelOfTheory:
    defaults = {"name": "pm7", "engine": "qcengine", "method": "PM7", "options": {"program": "mopac"}}
    return LevelOfTheory(**(defaults | keys))


def water(**keys: Any) -> CalculationInput:
    return CalculationInput.of(np.array([8, 1, 1]), BENT, level(**keys))


def molecule(numbers: list[int], distance: float, charge: int = 0, spin: int = 0) -> CalculationInput:
    positions = np.array([[0, 0, distance * index] for index in range(len(numbers))])
    return CalculationInput.of(np.array(numbers), positions, level(), charge, spin)


@needs_mopac
@pytest.mark.slow
def test_pm7_water_is_mopacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    output = compute(water(relaxation=("gfn2-xtb", "self")), tmp_path)
    # MOPAC 22.0.6's own optimiser: -57.7999 kcal/mol, 0.9553 angstrom, 105.4 degrees, 2.129 debye, -12.115 and 4.049 eV
    assert output.energy_hartree == pytest.approx(-57.80 * KCAL_MOL, abs=2e-5)
    oxygen, first, second = np.array(output.coordinates_angstrom)
    assert np.linalg.norm(first - oxygen) == pytest.approx(0.9553, abs=0.003)
    assert np.linalg.norm(second - oxygen) == pytest.approx(0.9553, abs=0.003)
    assert output.dipole_debye == pytest.approx(2.129, abs=0.01)
    assert (output.homo_ev, output.lumo_ev) == pytest.approx((-12.115, 4.049), abs=0.02)
    assert re.match(r"\d+\.\d+", output.software["mopac"])
    assert output.relaxation_steps > 1
    assert not list(scratch.iterdir())


@needs_mopac
@pytest.mark.slow
def test_open_shells_are_unrestricted(tmp_path: Path) -> None:
    triplet, singlet = (compute(molecule([8, 8], 1.2, spin=spin), tmp_path) for spin in (2, 0))
    assert triplet.energy_hartree < singlet.energy_hartree - 0.01
    atom = compute(molecule([1], 0.0, spin=1), tmp_path)
    assert atom.energy_hartree == pytest.approx(52.102 * KCAL_MOL, abs=1e-5)  # what MOPAC takes for a hydrogen atom
    assert (atom.gap_ev, atom.findings) == (None, (NO_GAP,))


@needs_mopac
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": {"program": "mopak"}}, "did you mean 'mopac'"),
        ({"options": {}}, "options.program must name a program of QCEngine"),
        ({"options": {"program": "mopac", "keyword": {}}}, "option 'keyword' is not known"),
        ({"options": {"program": "mopac", "keywords": ["XYZ"]}}, "must be a mapping"),
        ({"options": {"program": "mopac", "keywords": {"UNHEARD": 1}}}, "UNHEARD"),
        ({"options": {"program": "molpro"}}, "molpro is not installed on this machine"),
        ({"grid": 3}, "grid cannot be passed on to mopac"),
        ({"properties": ("excitations",), "stability": True}, "excitations, stability cannot be computed"),
        ({"method": "B3LYP"}, "MOPAC does not have method"),
        ({"method": "RM1", "numbers": (14, 1, 1)}, "RM1 has no parameters for Si"),
    ],
)
def test_refusals_say_what_to_change(change: dict[str, Any], words: str) -> None:
    numbers = change.pop("numbers", (8, 1, 1))
    job = water(**change).model_copy(update={"numbers": numbers})
    with pytest.raises(CalculationError) as caught:
        job.check()
    assert words in caught.value.reason
    assert caught.value.reason.startswith("level 'pm7': ")
    assert caught.value.failure_class == FailureClass.POISON


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a ``mopac`` first on the path."""
    program = folder / "mopac"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@needs_mopac
@pytest.mark.slow
def test_mopac_that_does_not_converge_is_chemistry_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path, f'sed -i "s/ PULAY/ ITRY=4 PULAY/" "$1" && exec {MOPAC} "$1"', monkeypatch)
    with pytest.raises(CalculationError) as caught:
        find("qcengine").surface(water(), 1000).gradient(BENT)
    assert caught.value.failure_class == FailureClass.CHEMISTRY
    assert "THE SCF CALCULATION FAILED. UNABLE TO ACHIEVE SELF-CONSISTENCE" in caught.value.reason
    assert "JOB ENDED NORMALLY" in capfd.readouterr().out


@needs_mopac
@pytest.mark.slow
def test_a_program_that_dies_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "kill -9 $$", monkeypatch)
    with pytest.raises(CalculationError) as caught:
        find("qcengine").surface(water(), 1000).gradient(BENT)
    assert caught.value.failure_class == FailureClass.TRANSIENT
    assert "no result and no reason" in caught.value.reason


@needs_mopac
@pytest.mark.slow
def test_missing_parameters_are_poison(tmp_path: Path) -> None:
    uranium = molecule([92, 1, 1], 1.9)
    with pytest.raises(CalculationError, match=r"MISSING VAN DER WAALS RADIUS FOR +U") as caught:
        find("qcengine").surface(uranium, 1000).properties(uranium.positions, tmp_path)
    assert caught.value.failure_class == FailureClass.POISON


@needs_mopac
@pytest.mark.slow
def test_a_reached_field_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "h2.mop").write_text("PM7 1SCF\n\n\nH 0 0 0\nH 0 0 0.74\n")
    subprocess.run(["mopac", "h2.mop"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    out = (tmp_path / "h2.out").read_text()
    assert failure(out) is None
    assert failure(out.replace("SCF FIELD WAS ACHIEVED", "FAILED TO ACHIEVE SCF")) is not None


def result(job: CalculationInput, **more: Any) -> AtomicResult:
    """As a program that gives what the schema has fields for."""
    fields = input_fields(job, "energy") | {
        "schema_name": "qcschema_output",
        "return_result": -76.4,
        "properties": {"return_energy": -76.4},
        "provenance": {"creator": "Psi4", "version": "1.10"},
        "success": True,
    }
    return AtomicResult(**(fields | more))


def orbitals(**eigenvalues: list[float]) -> dict[str, Any]:
    hydrogen = {
        "electron_shells": [
            {"angular_momentum": [0], "harmonic_type": "spherical", "exponents": [1.0], "coefficients": [[1.0]]}
        ]
    }
    basis = {"name": "s", "center_data": {"h": hydrogen}, "atom_map": ["h"] * 3}
    spins = {f"eigenvalues_{spin}": f"scf_eigenvalues_{spin}" for spin in eigenvalues}
    values = {f"scf_eigenvalues_{spin}": np.array(levels) for spin, levels in eigenvalues.items()}
    restricted = len(eigenvalues) == 1
    return {
        "wavefunction": {"basis": basis, "restricted": restricted, **spins, **values},
        "protocols": {"wavefunction": "orbitals_and_eigenvalues"},
    }


def test_orbital_energies_of_the_schema_give_the_gap() -> None:
    values = found(result(water(), **orbitals(a=[-20.0, -1.3, -0.7, -0.5, 0.1, -0.3])), water()).values
    assert values["homo_ev"] == pytest.approx(-0.3 * HARTREE_TO_EV)  # five pairs, in whatever order
    assert values["gap_ev"] == pytest.approx(0.4 * HARTREE_TO_EV)
    cation = water().model_copy(update={"charge": 1, "spin": 1})
    both = orbitals(a=[-21.0, -1.5, -0.9, -0.8, -0.7, 0.0], b=[-21.0, -1.5, -0.9, -0.75, -0.2, 0.1])
    values = found(result(cation, **both), cation).values
    assert (values["homo_ev"], values["lumo_ev"]) == pytest.approx((-0.7 * HARTREE_TO_EV, -0.2 * HARTREE_TO_EV))


def test_reported_variables_give_gap_dipole_and_charges() -> None:
    told = {
        "HOMO": [-0.31],
        "LUMO": [0.05],
        "SCF DIPOLE": [0.0, 0.6, 0.0],
        "MULLIKEN CHARGES": [-0.6, 0.3, 0.3],
    }
    made = found(result(water(), extras={"qcvars": told}), water())
    assert made.values["gap_ev"] == pytest.approx(0.36 * HARTREE_TO_EV)
    assert made.values["dipole_debye"] == pytest.approx(0.6 * 2.541746, abs=1e-5)
    assert made.values["mulliken_e"] == (-0.6, 0.3, 0.3)
    assert (made.findings, made.software) == ((), {"psi4": "1.10"})


def test_an_energy_alone_is_a_result_without_a_gap() -> None:
    made = found(result(water(), properties={}), water())
    assert made.values["energy_hartree"] == -76.4
    assert {name for name, value in made.values.items() if value is not None} == {"energy_hartree"}
    assert made.findings == (NO_GAP,)
    with pytest.raises(CalculationError, match="no energy but nan"):
        found(result(water(), properties={}, return_result=float("nan")), water())
