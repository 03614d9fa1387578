"""What is refused before any process is started, and the JSON between worker and child."""

import json
from dataclasses import replace

import pytest

from gapsmith.core.errors import CalculationError, FailureClass, InputError
from gapsmith.dft_queue.jobs import MOST_ATOMS, CalculationInput, CalculationOutput

WATER = CalculationInput(
    numbers=(8, 1, 1),
    coordinates_angstrom=((0.0, 0.0, 0.1177), (0.0, 0.7555, -0.4712), (0.0, -0.7555, -0.4712)),
    level="triage",
)


def refusal(job: CalculationInput) -> str:
    with pytest.raises(CalculationError) as caught:
        job.check()
    assert caught.value.failure_class == FailureClass.POISON
    return caught.value.reason


def test_good_jobs_pass() -> None:
    WATER.check()
    replace(WATER, charge=1, spin=1).check()
    replace(WATER, spin=2).check()


def test_odd_electron_count_is_refused_with_its_reason() -> None:
    methyl = CalculationInput((6, 1, 1, 1), ((0, 0, 0), (1.08, 0, 0), (-0.54, 0.94, 0), (-0.54, -0.94, 0)), "triage")
    assert "9 electrons cannot have 0 unpaired" in refusal(methyl)
    replace(methyl, spin=1).check()
    assert "9 electrons cannot have 0 unpaired (charge 1)" in refusal(replace(WATER, charge=1))
    assert "cannot have -1" in refusal(replace(methyl, spin=-1))


def test_atoms_on_top_of_each_other_are_refused() -> None:
    crushed = ((0.0, 0.0, 0.1177), (0.0, 0.7555, -0.4712), (0.0, 0.7555, -0.4))
    assert "atoms 2 and 3 are 0.071 angstrom apart" in refusal(replace(WATER, coordinates_angstrom=crushed))


def test_unknown_elements_shapes_and_sizes_are_refused() -> None:
    assert "atomic number 16; known elements: H C N O F" in refusal(replace(WATER, numbers=(16, 1, 1)))
    assert "3 rows" in refusal(replace(WATER, coordinates_angstrom=WATER.coordinates_angstrom[:2]))
    nowhere = ((0.0, 0.0, float("nan")), *WATER.coordinates_angstrom[1:])
    assert "finite" in refusal(replace(WATER, coordinates_angstrom=nowhere))
    chain = tuple((1.5 * i, 0.0, 0.0) for i in range(MOST_ATOMS + 1))
    assert f"{MOST_ATOMS + 1} atoms" in refusal(CalculationInput((2,) * len(chain), chain, "triage"))
    assert "0 atoms" in refusal(CalculationInput((), (), "triage"))


def test_an_unknown_level_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"'ccsd'; known: triage, certificate"):
        replace(WATER, level="ccsd").check()


def test_json_round_trips() -> None:
    assert CalculationInput.from_json(WATER.to_json()) == WATER
    output = CalculationOutput(
        gap_ev=9.8,
        homo_ev=-7.9,
        lumo_ev=1.9,
        energy_hartree=-76.4,
        dipole_debye=1.85,
        mulliken_e=(-0.6, 0.3, 0.3),
        rung="diis",
        wall_s=1.0,
        cpu_s=0.5,
        coordinates_angstrom=WATER.coordinates_angstrom,
        relaxation_steps=3,
        software={"pyscf": "2"},
    )
    assert CalculationOutput.from_dict(json.loads(json.dumps(output.to_dict()))) == output
    single = replace(output, coordinates_angstrom=None)
    assert CalculationOutput.from_dict(json.loads(json.dumps(single.to_dict()))) == single
