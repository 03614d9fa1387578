"""QCSchema: QCElemental takes what is written, and it is read back the same; what is no molecule is explained."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qcelemental.models import v1, v2
from sampled import examples

from gapsmith.core.chemistry.qcschema import from_document
from gapsmith.core.chemistry.reader import read_molecules
from gapsmith.core.chemistry.records import Record
from gapsmith.core.errors import InputError
from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput, Excitation
from gapsmith.dft_queue.qcschema import input_fields, to_atomic_result

START = ((0.0, 0.0, 0.1177), (0.0, 0.8555, -0.4712), (0.0, -0.7755, -0.4712))
END = ((0.0, 0.01, 0.12), (0.0, 0.76, -0.47), (0.0, -0.75, -0.47))
WATER = CalculationInput(numbers=(8, 1, 1), coordinates_angstrom=START, level=shipped()["certificate"])
FOUND = CalculationOutput(
    energy_hartree=-76.4,
    gap_ev=9.8,
    homo_ev=-7.9,
    lumo_ev=1.9,
    dipole_debye=1.85,
    mulliken_e=(-0.6, 0.3, 0.3),
    excitations=(Excitation(energy_ev=7.6, wavelength_nm=163.1, oscillator_strength=0.05),),
    coordinates_angstrom=END,
    relaxation_steps=4,
    rung="diis",
    findings=("something to know",),
    wall_s=3.5,
    cpu_s=3.1,
    host="node7",
    software={"gapsmith": "0.1.0", "pyscf": "2.14.0"},
)


def from_molecule(document: Any) -> tuple[np.ndarray, np.ndarray, int | None, int | None]:
    record = from_document(document, Record("1", "document 1"))
    assert record.error is None, record.error
    assert record.geometry is not None
    return *record.geometry, record.charge, record.spin


@st.composite
def jobs(draw: st.DrawFn) -> CalculationInput:
    """Atoms some angstrom apart, with a charge and a spin that go together."""
    numbers = draw(st.lists(st.integers(1, 54), min_size=1, max_size=6))
    shifts = draw(st.lists(st.tuples(*[st.floats(-0.9, 0.9)] * 3), min_size=len(numbers), max_size=len(numbers)))
    charge = draw(st.integers(-2, min(2, sum(numbers) - 1)))
    electrons = sum(numbers) - charge
    spin = draw(st.sampled_from([spin for spin in (0, 1, 2, 3) if spin <= electrons and (electrons - spin) % 2 == 0]))
    rows = [(3.0 * index + x, y - 5, z) for index, (x, y, z) in enumerate(shifts)]
    level = draw(st.sampled_from(list(shipped().values())))
    return CalculationInput.of(np.array(numbers), np.array(rows), level, charge, spin)


@settings(max_examples=examples(40), deadline=None)
@given(jobs())
def test_an_input_is_read_back_the_same(job: CalculationInput) -> None:
    document = json.loads(v1.AtomicInput(**input_fields(job, "gradient")).json())
    assert (document["schema_name"], document["schema_version"]) == ("qcschema_input", 1)
    assert document["driver"] == "gradient"
    validated = v1.AtomicInput(**document)
    assert validated.model.dict() == {"method": job.level.method, "basis": job.level.basis}
    numbers, coordinates, charge, spin = from_molecule(document)
    assert tuple(numbers) == job.numbers
    assert coordinates == pytest.approx(job.positions, abs=3e-7)  # QCElemental takes what is below 5e-7 bohr for zero
    assert (charge, spin) == (job.charge, job.spin)


def test_lengths_are_bohr_and_stay_in_their_frame() -> None:
    geometry = input_fields(WATER, "energy")["molecule"]["geometry"]
    assert np.reshape(geometry, (3, 3)) * BOHR_TO_ANGSTROM == pytest.approx(WATER.positions, abs=1e-8)
    assert geometry[4] == pytest.approx(0.8555 / 0.529177, abs=1e-5)


def test_a_result_carries_everything_and_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(to_atomic_result(WATER, FOUND).json())
    validated = v1.AtomicResult.parse_file(path)
    assert validated.success
    assert validated.return_result == validated.properties.return_energy == -76.4
    assert validated.properties.calcinfo_natom == 3
    assert (validated.properties.calcinfo_nalpha, validated.properties.calcinfo_nbeta) == (5, 5)
    assert validated.properties.scf_dipole_moment is None  # only its length is known
    ours = validated.extras["gapsmith"]
    assert CalculationOutput.model_validate(ours["result"]) == FOUND
    assert LevelOfTheory.model_validate(ours["level"]).version == ours["level_version"] == WATER.level.version
    told = validated.provenance.dict()
    assert (told["creator"], told["version"], told["hostname"]) == ("gapsmith", "0.1.0", "node7")
    assert (told["wall_time"], told["cpu_time"], told["software"]["pyscf"]) == (3.5, 3.1, "2.14.0")
    (record,) = read_molecules(path)
    assert record.geometry is not None
    assert record.geometry.coordinates == pytest.approx(np.array(END), abs=1e-8)


def test_a_single_point_keeps_its_input_geometry() -> None:
    single = to_atomic_result(WATER, FOUND.model_copy(update={"coordinates_angstrom": None}))
    assert single.molecule.geometry * BOHR_TO_ANGSTROM == pytest.approx(WATER.positions, abs=1e-8)


def test_spins_are_counted_apart() -> None:
    cation = WATER.model_copy(update={"charge": 1, "spin": 1})
    made = to_atomic_result(cation, FOUND)
    assert (made.properties.calcinfo_nalpha, made.properties.calcinfo_nbeta) == (5, 4)
    assert (made.molecule.molecular_charge, made.molecule.molecular_multiplicity) == (1, 2)


def test_the_keywords_of_a_program_that_qcengine_runs_are_its_own() -> None:
    level = LevelOfTheory(
        name="pm7", engine="qcengine", method="PM7", options={"program": "mopac", "keywords": {"ITER": 50}}
    )
    assert input_fields(WATER.model_copy(update={"level": level}), "energy")["keywords"] == {"ITER": 50}
    assert input_fields(WATER, "energy")["keywords"] == {}


def test_the_second_layout_is_read_too() -> None:
    document = json.loads(to_atomic_result(WATER, FOUND).convert_v(2).model_dump_json())
    assert document["schema_version"] == 2
    assert from_molecule(document)[1] == pytest.approx(np.array(END), abs=1e-8)
    molecule = v2.Molecule(symbols=["He"], geometry=[1.0, 2.0, 3.0], fix_com=True, fix_orientation=True)
    numbers, coordinates, charge, spin = from_molecule(json.loads(molecule.model_dump_json()))
    assert (list(numbers), charge, spin) == ([2], 0, 0)
    assert coordinates == pytest.approx(np.array([[1.0, 2.0, 3.0]]) * BOHR_TO_ANGSTROM)


def test_a_bare_molecule_is_not_moved_and_gets_the_lowest_spin() -> None:
    methyl = {"symbols": ["c", "H", "H", "H"], "geometry": [3, 0, 0, 5.0, 0, 0, 2, 1.77, 0, 2, -1.77, 0]}
    numbers, coordinates, charge, spin = from_molecule(methyl)
    assert (list(numbers), charge, spin) == ([6, 1, 1, 1], 0, 1)
    assert coordinates[0] == pytest.approx([3 * BOHR_TO_ANGSTROM, 0, 0])


GOOD: dict[str, Any] = {"symbols": ["O", "H"], "geometry": [0, 0, 0, 0, 0, 1.8], "molecular_charge": -1}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([GOOD], "it is a list"),
        ({"symbols": ["H"]}, "geometry missing"),
        ({"schema_name": "qcschema_basis", "name": "sto-3g"}, "symbols and geometry missing.*'qcschema_basis'"),
        ({"molecule": "water"}, "its molecule is a str"),
        (GOOD | {"geometry": [0, 0, 0]}, "not a molecule"),
        (GOOD | {"geometry": [0, 0, 0, 0, 0, "far"]}, "not a molecule"),
        (GOOD | {"geometry": [0, 0, 0, 0, 0, 0]}, "not a molecule"),
        (GOOD | {"symbols": ["O", "Xx"]}, "not a molecule.*Xx.*uninterpretable"),
        (GOOD | {"molecular_multiplicity": 2, "validated": True}, "not a molecule"),
        (GOOD | {"real": [True, False]}, "ghost atoms"),
        (GOOD | {"molecular_charge": 0.5, "molecular_multiplicity": 1.5}, "whole numbers|not a molecule"),
    ],
)
def test_what_is_not_a_molecule_is_explained(document: Any, words: str) -> None:
    record = from_document(document, Record("1", "some.json"))
    assert record.geometry is None
    assert record.error is not None
    assert re.search(words, record.error)
    assert "\n" not in record.error


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"symbols": [')
    for path, words in ((broken, "is not JSON"), (tmp_path / "nowhere.json", "does not exist")):
        with pytest.raises(InputError, match=rf"{path.name} {words}"):
            list(read_molecules(path))
