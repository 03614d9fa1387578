"""GFN2-xTB's electronic structure: sums that must hold, symmetry, and what tblite itself says."""

import numpy as np
import pytest
from tblite.interface import Calculator

from gapsmith.core.electronic import NEIGHBOURS, electronic_structure
from gapsmith.core.errors import CalculationError
from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

FORMALDEHYDE = (
    np.array([6, 8, 1, 1]),
    np.array([[0.0, 0.0, -0.53], [0.0, 0.0, 0.68], [0.0, 0.94, -1.11], [0.0, -0.94, -1.11]]),
)


def test_formaldehyde_has_its_lone_pair_on_oxygen_and_its_empty_orbital_on_carbon() -> None:
    found = electronic_structure(*FORMALDEHYDE)
    assert found.homo_populations.sum() == pytest.approx(1, abs=1e-9)
    assert found.lumo_populations.sum() == pytest.approx(1, abs=1e-9)
    assert found.homo_populations.argmax() == 1
    assert found.lumo_populations.argmax() == 0
    assert found.homo_populations[2] == pytest.approx(found.homo_populations[3], abs=1e-6)
    assert found.charges_e.sum() == pytest.approx(0, abs=1e-8)
    assert found.charges_e[1] < 0 < found.charges_e[2]
    assert found.bond_orders[0, 1] == pytest.approx(2, abs=0.2)
    assert found.bond_orders == pytest.approx(found.bond_orders.T, abs=1e-12)
    assert np.linalg.norm(found.dipole_debye) == pytest.approx(2.3, abs=0.6)
    assert found.dipole_debye[2] < 0  # from oxygen towards carbon


def test_energies_are_those_of_tblite_and_do_not_depend_on_the_frame() -> None:
    numbers, coordinates = FORMALDEHYDE
    calculator = Calculator("GFN2-xTB", numbers, coordinates / BOHR_TO_ANGSTROM)
    calculator.set("verbosity", 0)
    result = calculator.singlepoint()
    levels, occupations = result.get("orbital-energies") * HARTREE_TO_EV, result.get("orbital-occupations")
    found = electronic_structure(numbers, coordinates)
    assert found.energy_hartree == pytest.approx(result.get("energy"), abs=1e-9)
    assert found.homo_ev == pytest.approx(levels[occupations > 1].max(), abs=1e-6)
    assert found.lumo_ev == pytest.approx(levels[occupations < 1].min(), abs=1e-6)
    turned = electronic_structure(
        numbers, coordinates @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0] + 2
    )
    assert turned.orbital_energies_ev == pytest.approx(found.orbital_energies_ev, abs=1e-4)
    assert turned.homo_populations == pytest.approx(found.homo_populations, abs=1e-4)
    assert turned.bond_orders == pytest.approx(found.bond_orders, abs=1e-4)


def test_orbitals_that_the_minimal_basis_does_not_have_are_nan() -> None:
    found = electronic_structure(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))
    assert np.isfinite(found.orbital_energies_ev).tolist() == [False, False, True, True, False, False]
    assert found.homo_populations == pytest.approx([0.5, 0.5])
    assert len(found.orbital_energies_ev) == 2 * NEIGHBOURS


def test_an_element_without_parameters_is_refused() -> None:
    with pytest.raises(CalculationError, match="refuses the molecule"):
        electronic_structure(np.array([95]), np.zeros((1, 3)))
