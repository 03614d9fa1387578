"""What is refused before any process is started, and the JSON between worker and child."""

import numpy as np
import pytest

from gapsmith.core.chemistry.geometry import MOST_ATOMS
from gapsmith.core.errors import CalculationError, FailureClass, InputError
from gapsmith.core.levels import shipped
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput, Excitation

GEOMETRY = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])
SINGLE, XTB = shipped()["single-point"], shipped()["xtb"]
WATER = CalculationInput.of(np.array([8, 1, 1]), GEOMETRY, SINGLE)
METHYL = CalculationInput.of(
    np.array([6, 1, 1, 1]), np.array([[0, 0, 0], [1.08, 0, 0], [-0.54, 0.94, 0], [-0.54, -0.94, 0]]), SINGLE
)


def refusal(job: CalculationInput, **changes: object) -> str:
    with pytest.raises(CalculationError) as caught:
        job.model_copy(update=changes).check()
    assert caught.value.failure_class == FailureClass.POISON
    return caught.value.reason


def test_good_jobs_pass() -> None:
    WATER.check()
    WATER.model_copy(update={"charge": 1, "spin": 1}).check()
    WATER.model_copy(update={"spin": 2}).check()
    METHYL.model_copy(update={"spin": 1}).check()


def test_odd_electron_count_is_refused_with_its_reason() -> None:
    assert "9 electrons cannot have 0 unpaired" in refusal(METHYL)
    assert "9 electrons cannot have 0 unpaired (charge 1)" in refusal(WATER, charge=1)
    assert "cannot have -1" in refusal(METHYL, spin=-1)


def test_atoms_on_top_of_each_other_are_refused() -> None:
    crushed = ((0.0, 0.0, 0.1177), (0.0, 0.7555, -0.4712), (0.0, 0.7555, -0.4))
    assert "atoms 2 and 3 (H and H; the first is 1) are 0.071 angstrom apart" in refusal(
        WATER, coordinates_angstrom=crushed
    )


def test_elements_without_basis_functions_are_refused_by_their_engine() -> None:
    assert "6-31g(2df,p) has no functions for S" in refusal(WATER, numbers=(16, 1, 1))
    WATER.model_copy(update={"numbers": (16, 1, 1), "level": SINGLE.model_copy(update={"basis": "def2-svp"})}).check()
    assert "no parameters for atomic number 90" in refusal(WATER, numbers=(90, 1, 1), level=XTB)


def test_shapes_and_sizes_are_refused() -> None:
    assert "(atoms, 3)" in refusal(WATER, coordinates_angstrom=WATER.coordinates_angstrom[:2])
    nowhere = ((0.0, 0.0, float("nan")), *WATER.coordinates_angstrom[1:])
    assert "finite" in refusal(WATER, coordinates_angstrom=nowhere)
    chain = tuple((1.5 * i, 0.0, 0.0) for i in range(MOST_ATOMS + 1))
    assert f"{MOST_ATOMS + 1} atoms" in refusal(WATER, numbers=(2,) * len(chain), coordinates_angstrom=chain)
    assert "0 atoms" in refusal(WATER, numbers=(), coordinates_angstrom=())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "b4lyp"}, "no density functional 'b4lyp'"),
        ({"basis": None}, "names no basis set"),
        ({"basis": "6-31g(5z)"}, "6-31g(5z) has no functions for O"),
        ({"density_fitting": "nothing"}, "density_fitting: PySCF has no basis set 'nothing'"),
    ],
)
def test_levels_that_an_engine_cannot_do_are_refused(changes: dict[str, object], words: str) -> None:
    assert words in refusal(WATER, level=SINGLE.model_copy(update=changes))
    assert "tblite computes gfn2-xtb" in refusal(WATER, level=XTB.model_copy(update={"method": "gfn1-xtb"}))


def test_an_unknown_engine_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no engine is called 'gaussian'; there is: pyscf, qcengine, tblite"):
        WATER.model_copy(update={"level": SINGLE.model_copy(update={"engine": "gaussian"})}).check()


def test_json_round_trips() -> None:
    assert CalculationInput.model_validate_json(WATER.model_dump_json()) == WATER
    output = CalculationOutput(
        energy_hartree=-76.4,
        gap_ev=9.8,
        mulliken_e=(-0.6, 0.3, 0.3),
        coordinates_angstrom=WATER.coordinates_angstrom,
        excitations=(Excitation(energy_ev=7.1, wavelength_nm=174.6, oscillator_strength=0.02),),
        findings=("something",),
        software={"pyscf": "2"},
    )
    assert CalculationOutput.model_validate_json(output.model_dump_json()) == output
