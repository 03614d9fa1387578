"""Static polarizabilities: QM9's number, finite fields, and the same from either kind of wave function."""

from typing import Any

import numpy as np
import pytest
from pyscf.dft.numint import NumInt
from wave_functions import LEVEL, converged, of_both_spins

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.properties.polarizability import polarizability
from gapsmith.dft_queue.properties.response import tightened
from gapsmith.dft_queue.scf import Rung, converge

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def water() -> Any:
    """QM9's molecule 3."""
    return converged(
        [8, 1, 1],
        [[-0.0343605, 0.9775396, 0.0076016], [0.0647665, 0.0205722, 0.0015346], [0.8717904, 1.3007924, 0.0006931]],
    )


def test_water_has_the_polarizability_of_qm9(water: Any) -> None:
    assert np.trace(polarizability(water)) / 3 == pytest.approx(6.31, abs=0.01)


def test_it_is_the_dipoles_derivative_by_the_field(water: Any) -> None:
    found = polarizability(water)
    np.testing.assert_array_equal(found, found.T)
    core, step = water.get_hcore(), 2e-3
    position = water.mol.intor("int1e_r")
    for axis in range(3):
        dipoles = []
        for sign in (1, -1):
            shifted = water.copy()
            shifted.get_hcore = lambda *_, change=sign * step * position[axis]: core + change
            shifted._numint, shifted.conv_tol, shifted.conv_tol_grad = NumInt(), 1e-11, 1e-6
            shifted.kernel(dm0=water.make_rdm1())
            dipoles.append(shifted.dip_moment(unit="AU", verbose=0))
        np.testing.assert_allclose(found[axis], (dipoles[0] - dipoles[1]) / (2 * step), atol=2e-3)


def test_restricted_and_unrestricted_agree(water: Any) -> None:
    np.testing.assert_allclose(polarizability(of_both_spins(water)), polarizability(water), atol=1e-4)


def test_the_field_stays_as_it_was(water: Any) -> None:
    before = {name: id(value) for name, value in vars(water).items()}
    orbitals, energy, summary = water.mo_coeff.copy(), water.e_tot, dict(water.scf_summary)
    polarizability(water)
    tightened(water)
    assert {name: id(value) for name, value in vars(water).items()} == before
    assert (water.e_tot, dict(water.scf_summary)) == (energy, summary)
    np.testing.assert_array_equal(water.mo_coeff, orbitals)


def test_a_field_of_the_last_rung_serves_too(water: Any) -> None:
    second = converge(water.mol, LEVEL, ladder=(Rung("second-order", cycles=40, second_order=True),)).mean_field
    np.testing.assert_allclose(polarizability(second), polarizability(water), atol=2e-3)


def test_a_field_that_has_not_converged_is_refused(water: Any) -> None:
    lost = water.copy()
    lost.converged = False
    with pytest.raises(CalculationError, match="converged SCF") as caught:
        polarizability(lost)
    assert caught.value.failure_class == FailureClass.CHEMISTRY
