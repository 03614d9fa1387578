"""The GFN2-xTB Hessian knows that a molecule may move and turn freely, and spares a relaxation its way."""

from pathlib import Path

import numpy as np
import pytest

from gapsmith.core.levels import shipped
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue import relaxation
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.hessian import SOFTEST, xtb_hessian
from gapsmith.dft_queue.jobs import CalculationInput

pytestmark = pytest.mark.slow

LEVEL = shipped()["single-point"].model_copy(update={"relaxation": ("self",)})
WATER = CalculationInput.of(np.array([8, 1, 1]), np.array([[0, 0, 0], [0.93, 0.0, 0.1], [-0.1, 0.0, 1.02]]), LEVEL)
HARTREE_PER_BOHR2_TO_MDYNE_PER_ANGSTROM = 15.569


def test_translations_cost_nothing_and_bonds_are_springs() -> None:
    hessian = xtb_hessian(WATER, WATER.positions)
    assert hessian is not None
    assert hessian.shape == (9, 9)
    assert np.allclose(hessian, hessian.T)
    for axis in range(3):  # moving the molecule costs next to nothing
        moved = np.tile(np.eye(3)[axis], 3)
        assert moved @ hessian @ moved / 3 == pytest.approx(SOFTEST, abs=1e-3)
    assert np.linalg.eigvalsh(hessian).min() > 0.9 * SOFTEST
    positions = np.array(WATER.coordinates_angstrom) / BOHR_TO_ANGSTROM
    bond = (positions[1] - positions[0]) / np.linalg.norm(positions[1] - positions[0])
    stretch = bond @ hessian[3:6, 3:6] @ bond * HARTREE_PER_BOHR2_TO_MDYNE_PER_ANGSTROM
    assert stretch == pytest.approx(8.4, rel=0.25)  # the O-H force constant of water, in mdyne / angstrom


def test_no_hessian_where_the_method_has_no_answer() -> None:
    americium = CalculationInput.of(np.array([95, 95]), np.array([[0, 0, 0], [0, 0, 3.0]]), LEVEL)
    assert xtb_hessian(americium, americium.positions) is None  # GFN2-xTB ends at radon


def test_fewer_gradients_lead_to_the_same_gap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fast = compute(WATER, tmp_path)
    monkeypatch.setattr(relaxation, "xtb_hessian", lambda job, coordinates: None)
    slow = compute(WATER, tmp_path)
    assert fast.relaxation_steps <= slow.relaxation_steps
    assert fast.gap_ev == pytest.approx(slow.gap_ev, abs=0.01)
