"""Excitations: a known one, the relation to the polarizability, PySCF's own numbers, and when nothing converges."""

from typing import Any

import numpy as np
import pytest
from pyscf import tdscf
from pyscf.dft.numint import NumInt
from pyscf.scf import _vhf
from wave_functions import LEVEL, converged, of_both_spins

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.properties import excitations as module
from gapsmith.dft_queue.properties.excitations import excitations
from gapsmith.dft_queue.properties.polarizability import polarizability
from gapsmith.dft_queue.scf import mean_field

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def formaldehyde() -> Any:
    return converged([6, 8, 1, 1], [[0, 0, 0], [0, 0, 1.205], [0, 0.94, -0.59], [0, -0.94, -0.59]])


@pytest.fixture(scope="module")
def hydrogen() -> Any:
    return converged([1, 1], [[0, 0, 0], [0, 0, 0.74]])


def test_formaldehydes_lowest_is_dark_and_near_four_ev(formaldehyde: Any) -> None:
    found = excitations(formaldehyde, 4)
    assert found[0].energy_ev == pytest.approx(4.0, abs=0.1)
    assert found[0].oscillator_strength == pytest.approx(0, abs=1e-6)
    assert found[0].wavelength_nm == pytest.approx(1239.84 / found[0].energy_ev, rel=1e-5)
    assert {(one.method, one.multiplicity) for one in found} == {("TDDFT", 1)}
    assert [one.energy_ev for one in found] == sorted(one.energy_ev for one in found)
    assert max(one.oscillator_strength for one in found) > 0.05


def test_they_are_pyscfs() -> None:
    water = converged([8, 1, 1], [[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])
    reference = water.copy()
    reference._numint = NumInt()
    response = tdscf.rks.TDDFT(reference)
    response.nstates, response.verbose = 3, 0
    response.kernel()
    found = excitations(water, 3)
    np.testing.assert_allclose([one.energy_ev for one in found], response.e * HARTREE_TO_EV, atol=1e-4)
    np.testing.assert_allclose([one.oscillator_strength for one in found], response.oscillator_strength(), atol=1e-4)


def test_no_integral_is_computed_without_density_fitting(formaldehyde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def tripped(*_: Any, **__: Any) -> None:
        raise AssertionError("direct integrals")

    for name in ("direct", "direct_mapdm", "direct_bindm", "incore"):
        monkeypatch.setattr(_vhf, name, tripped)
    assert len(excitations(formaldehyde, 2)) == 2


def test_all_states_of_hydrogen_add_up_to_its_polarizability(hydrogen: Any) -> None:
    """The sum of f / energy^2 over all states is the mean static polarizability."""
    found = excitations(hydrogen, 1000)
    assert len(found) == hydrogen.mol.nao - 1
    total = sum(one.oscillator_strength / (one.energy_ev / HARTREE_TO_EV) ** 2 for one in found)
    assert total == pytest.approx(np.trace(polarizability(hydrogen)) / 3, rel=1e-4)
    assert sum(one.oscillator_strength for one in found) < 2.1 * hydrogen.mol.nelectron / 2 * 1.2


def test_an_unrestricted_field_has_the_same_singlets_among_its_states(hydrogen: Any) -> None:
    singlets = [one for one in excitations(hydrogen, 3) if one.oscillator_strength > 1e-3]
    mixed = excitations(of_both_spins(hydrogen), 6)
    assert all(one.multiplicity is None for one in mixed)
    for singlet in singlets:
        assert min(abs(one.energy_ev - singlet.energy_ev) for one in mixed) < 1e-3


def test_a_saddle_point_has_tamm_dancoff_excitations_only(formaldehyde: Any) -> None:
    found = excitations(doubly_excited(formaldehyde), 2)
    assert {one.method for one in found} == {"TDA"}


def test_what_does_not_converge_is_a_matter_of_chemistry(formaldehyde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CYCLES", 1)
    with pytest.raises(CalculationError, match="did not converge") as caught:
        excitations(formaldehyde, 3)
    assert caught.value.failure_class == FailureClass.CHEMISTRY


def doubly_excited(ground: Any) -> Any:
    """The closed shell with the highest orbital's electrons in the lowest empty one, held there by maximum overlap."""
    filled = ground.mo_occ.copy()
    pairs = int((filled > 0).sum())
    filled[pairs - 1], filled[pairs] = 0, 2
    held = ground.get_ovlp() @ ground.mo_coeff[:, filled > 0]
    field = mean_field(ground.mol, LEVEL)

    def occupations(energies: Any = None, orbitals: Any = None) -> np.ndarray:
        found = np.zeros(len(filled))
        found[np.argsort(-((held.T @ orbitals) ** 2).sum(axis=0))[:pairs]] = 2
        return found

    field.get_occ = occupations
    field.kernel(dm0=field.make_rdm1(ground.mo_coeff, filled))
    assert field.converged
    return field
