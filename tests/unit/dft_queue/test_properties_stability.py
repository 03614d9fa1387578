"""Stability: known verdicts, PySCF's own eigenvalues, and the way down from a saddle point."""

from typing import Any

import numpy as np
import pytest
from pyscf.dft.numint import NumInt
from pyscf.scf.stability import rhf_external, rhf_internal
from wave_functions import LEVEL, converged, of_both_spins

from gapsmith.core.errors import CalculationError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.properties import frontier
from gapsmith.dft_queue.properties import stability as module
from gapsmith.dft_queue.properties.frontier import frontier_curvature
from gapsmith.dft_queue.properties.response import prepared
from gapsmith.dft_queue.properties.stability import check_stability, stable_against_unrestricted
from gapsmith.dft_queue.scf import converge, mean_field

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def water() -> Any:
    return converged([8, 1, 1], [[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])


def test_water_is_stable(water: Any) -> None:
    found = check_stability(water)
    assert found.stable
    assert found.orbitals is None
    assert found.density is None


@pytest.mark.parametrize(
    ("numbers", "length"),
    [([1, 1], 2.5), ([8, 8], 1.21), ([6, 8], 3.0)],
    ids=["H2 pulled apart", "O2", "CO pulled apart"],
)
def test_open_shell_character_is_an_external_instability(numbers: list[int], length: float) -> None:
    found = check_stability(converged(numbers, [[0, 0, 0], [0, 0, length]]))
    assert not found.external


@pytest.mark.parametrize("length", [0.74, 1.2, 1.5, 1.9])
def test_the_verdicts_are_pyscfs(length: float) -> None:
    """Hydrogen's restricted wave function becomes unstable on the way."""
    field = converged([1, 1], [[0, 0, 0], [0, 0, length]])
    plain = field.copy()
    plain._numint = NumInt()
    found = check_stability(field)
    assert found.internal == rhf_internal(plain, return_status=True)[1]
    assert found.external == rhf_external(plain, return_status=True)[1]


def lowest_curvature(field: Any) -> float:
    ready = prepared(field)
    return module._lowest(ready, ready.gen_response(singlet=False, hermi=1))[0]


@pytest.mark.parametrize("method", ["b3lypg", "camb3lyp"])
def test_the_frontier_block_of_all_orbitals_is_the_whole_hessian(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    level = LEVEL.model_copy(update={"method": method, "convergence_hartree": 1e-7})
    field = converged([6, 8], [[0, 0, 0], [0, 0, 1.6]], level=level)
    exact, bound = lowest_curvature(field), frontier_curvature(field)
    assert bound is not None
    assert exact < bound < exact + 0.02
    monkeypatch.setattr(frontier, "AROUND", field.mol.nao)
    assert frontier_curvature(field) == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize(("length", "stable"), [(0.74, True), (2.5, False)])
def test_the_frontier_orbitals_decide_clear_cases(length: float, stable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def tripped(_: Any) -> None:
        raise AssertionError("the whole Hessian")

    field = converged([1, 1], [[0, 0, 0], [0, 0, length]])
    monkeypatch.setattr(module, "prepared", tripped)
    assert stable_against_unrestricted(field) == stable


def test_close_cases_are_decided_by_the_whole_hessian() -> None:
    """Ethene turned by 60 degrees: the frontier orbitals alone would call it stable."""
    turned = [[0.9343, 0, -0.5614], [-0.9343, 0, -0.5614], [0.4672, 0.8091, 1.9214], [-0.4672, -0.8091, 1.9214]]
    field = converged([6, 6, 1, 1, 1, 1], [[0, 0, 0], [0, 0, 1.36], *turned])
    bound = frontier_curvature(field)
    assert bound is not None
    assert bound > 0
    assert not stable_against_unrestricted(field)


def test_without_fitted_integrals_the_frontier_orbitals_tell_nothing() -> None:
    level: LevelOfTheory = LEVEL.model_copy(update={"density_fitting": None})
    assert frontier_curvature(converged([1, 1], [[0, 0, 0], [0, 0, 0.74]], level=level)) is None


def test_the_triplet_of_oxygen_is_stable_and_its_excited_singlet_is_not() -> None:
    assert check_stability(converged([8, 8], [[0, 0, 0], [0, 0, 1.21]], spin=2)).stable


@pytest.mark.parametrize("unrestricted", [False, True])
def test_a_saddle_point_is_found_and_left(water: Any, unrestricted: bool) -> None:
    saddle = doubly_excited(water)
    found = check_stability(of_both_spins(saddle) if unrestricted else saddle)
    assert not found.internal
    assert found.density is not None
    assert found.orbitals is not None
    assert (
        saddle.energy_tot(dm=np.asarray(found.density).reshape(-1, *saddle.mo_coeff.shape).sum(axis=0)) < saddle.e_tot
    )
    inner = np.swapaxes(found.orbitals, -1, -2) @ saddle.get_ovlp() @ found.orbitals
    np.testing.assert_allclose(inner, np.broadcast_to(np.eye(inner.shape[-1]), inner.shape), atol=1e-8)
    if not unrestricted:
        below = converge(saddle.mol, LEVEL, start=found.density).mean_field
        assert below.e_tot == pytest.approx(water.e_tot, abs=1e-5)
        assert check_stability(below).stable


def test_an_atom_with_one_electron_cannot_be_unstable() -> None:
    assert check_stability(converged([1], [[0, 0, 0]], spin=1)).stable


def test_a_curvature_that_does_not_converge_is_said_to_be_unknown(water: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLERANCE", 1e-30)
    monkeypatch.setattr(module, "MOST_CYCLES", 2)
    with pytest.raises(CalculationError, match="cannot be told"):
        check_stability(water)


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
