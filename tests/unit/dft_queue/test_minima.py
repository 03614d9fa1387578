"""A minimum is proved: whatever symmetry a molecule is drawn with, its number is that of a minimum."""

from pathlib import Path

import numpy as np
import pytest

from gapsmith.core.chemistry.reader import read_molecules
from gapsmith.core.errors import CalculationError
from gapsmith.core.levels import shipped
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

pytestmark = pytest.mark.slow

CASES = Path(__file__).parents[2] / "data" / "cases"
LINEAR_WATER = np.array([8, 1, 1]), np.array([[0, 0, 0], [0, 0, 0.96], [0, 0, -0.96]])


def computed(file: str, level: str, folder: Path) -> CalculationOutput:
    (record,) = read_molecules(CASES / file)
    assert record.geometry is not None
    return compute(CalculationInput.of(*record.geometry, shipped()[level]), folder)


@pytest.mark.parametrize(
    ("file", "level", "gap_ev"),
    [
        ("xyz_linear_water.xyz", "certificate", 9.835),  # QM9's
        ("xyz_flat_ammonia.xyz", "certificate", 9.251),  # QM9's
        ("xyz_flat_methane.xyz", "triage", 13.84),
        ("xyz_flat_ethane.xyz", "triage", 12.07),
    ],
)
def test_what_was_drawn_flat_or_linear_has_the_gap_of_its_minimum(
    file: str, level: str, gap_ev: float, tmp_path: Path
) -> None:
    found = computed(file, level, tmp_path)
    assert found.gap_ev == pytest.approx(gap_ev, abs=0.012)
    assert found.lowest_wavenumber_cm1 is not None
    assert found.lowest_wavenumber_cm1 > 100
    assert found.rearranged is None


def test_a_saddle_point_that_is_said_to_be_relaxed_is_left(tmp_path: Path) -> None:
    """Linear water whose GFN2-xTB relaxation is claimed: the level's own relaxation does not end there, either."""
    level = shipped()["certificate"].model_copy(update={"basis": "6-31g", "stability": False})
    found = compute(CalculationInput.of(*LINEAR_WATER, level, geometry_method="gfn2-xtb"), tmp_path)
    assert found.coordinates_angstrom is not None
    oxygen, first, second = np.array(found.coordinates_angstrom)
    cosine = (first - oxygen) @ (second - oxygen) / np.linalg.norm(first - oxygen) / np.linalg.norm(second - oxygen)
    assert 100 < np.degrees(np.arccos(cosine)) < 115


def test_a_saddle_point_is_refused_where_a_minimum_is_demanded(tmp_path: Path) -> None:
    level = shipped()["single-point"].model_copy(update={"basis": "6-31g", "minimum": True})
    with pytest.raises(CalculationError, match=r"saddle point: imaginary mode at \d+i cm"):
        compute(CalculationInput.of(*LINEAR_WATER, level), tmp_path)
