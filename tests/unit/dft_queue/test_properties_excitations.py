"""Excitations: known ones, the relation to the polarizability, plain PySCF scripts' numbers, and when nothing converges."""

from typing import Any, Literal

import numpy as np
import pytest
from pyscf import dft, gto, tdscf
from pyscf.scf import _vhf
from wave_functions import LEVEL, converged, of_both_spins

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import shipped
from gapsmith.core.states import States
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.properties import excitations as module
from gapsmith.dft_queue.properties.character import pi_directions
from gapsmith.dft_queue.properties.excitations import excited_states
from gapsmith.dft_queue.properties.polarizability import polarizability
from gapsmith.dft_queue.scf import mean_field

pytestmark = pytest.mark.slow

EXCITED = shipped()["excited"]
Molecule = tuple[list[int], list[list[float]]]  # atomic numbers, positions in angstrom
FORMALDEHYDE: Molecule = ([6, 8, 1, 1], [[0, 0, 0], [0, 0, 1.205], [0, 0.94, -0.59], [0, -0.94, -0.59]])
ETHENE: Molecule = (
    [6, 6, 1, 1, 1, 1],
    [[0, 0, 0], [0, 0, 1.33], [0, 0.923, -0.564], [0, -0.923, -0.564], [0, 0.923, 1.894], [0, -0.923, 1.894]],
)
MOLECULES: dict[str, Molecule] = {  # angstrom; geometries need not be minima
    "formaldehyde": FORMALDEHYDE,
    "ethene": ETHENE,
    "water": ([8, 1, 1], [[0, 0, 0.1177], [0, 0.7555, -0.4712], [0, -0.7555, -0.4712]]),
    "hydrogen cyanide": ([6, 7, 1], [[0, 0, 0], [0, 0, 1.15], [0, 0, -1.07]]),
    "diazene": ([7, 7, 1, 1], [[0, 0, 0], [0, 0, 1.24], [0, 0.98, -0.29], [0, -0.98, 1.53]]),
    "chloroborane": ([5, 17, 1, 1], [[0, 0, 0], [0, 0, 1.73], [0, 1.04, -0.59], [0, -1.04, -0.59]]),
}


@pytest.fixture(scope="module")
def formaldehyde() -> Any:
    return converged(*FORMALDEHYDE)


@pytest.fixture(scope="module")
def hydrogen() -> Any:
    return converged([1, 1], [[0, 0, 0], [0, 0, 0.74]])


def excitations(field: Any, number: int) -> Any:
    return excited_states(field, States(number=number))[0]


@pytest.mark.parametrize(("name", "method"), [*((name, "tda") for name in MOLECULES), ("formaldehyde", "tddft")])
def test_they_are_those_of_a_plain_script(name: str, method: Literal["tda", "tddft"]) -> None:
    """Exact integrals, PySCF's own thresholds, grid and eigensolver."""
    numbers, positions = MOLECULES[name]
    basis = "def2-svp" if name == "formaldehyde" else "6-31g"  # quicker
    found, findings = excited_states(
        converged(numbers, positions, level=EXCITED.model_copy(update={"basis": basis})),
        States(method=method, number=2),
        triplets=True,
    )
    atoms = [(SYMBOLS[number], position) for number, position in zip(numbers, positions, strict=True)]
    field = dft.RKS(gto.M(atom=atoms, basis=basis, verbose=0), xc="camb3lyp").run()
    for multiplicity in (1, 3):
        response = (tdscf.TDA if method == "tda" else tdscf.TDDFT)(field)
        response.singlet, response.nstates = multiplicity == 1, 4
        response.kernel()
        ours = [one for one in found if one.multiplicity == multiplicity]
        np.testing.assert_allclose([one.energy_ev for one in ours], response.e[:2] * HARTREE_TO_EV, atol=5e-3)
        if multiplicity == 1:
            strengths = response.oscillator_strength()[:2]
            np.testing.assert_allclose([one.oscillator_strength for one in ours], strengths, atol=1e-3)
    assert findings == []


def test_formaldehydes_lowest_is_dark_and_near_four_ev(formaldehyde: Any) -> None:
    found = excitations(formaldehyde, 4)
    assert found[0].energy_ev == pytest.approx(4.0, abs=0.1)
    assert found[0].oscillator_strength == pytest.approx(0, abs=1e-6)
    assert found[0].wavelength_nm == pytest.approx(1239.84 / found[0].energy_ev, rel=1e-5)
    assert {(one.method, one.multiplicity) for one in found} == {("TDDFT", 1)}
    assert [one.energy_ev for one in found] == sorted(one.energy_ev for one in found)
    assert max(one.oscillator_strength for one in found) > 0.05


def test_characters_of_known_states(formaldehyde: Any) -> None:
    """Formaldehyde: S1 and T1 are n -> pi*, T2 is pi -> pi*."""
    found, _ = excited_states(formaldehyde, States(method="tda", number=2), triplets=True)
    assert [(one.multiplicity, one.character) for one in found[:2]] == [(3, "n -> pi*"), (1, "n -> pi*")]
    assert (found[2].multiplicity, found[2].character) == (3, "pi -> pi*")
    assert (found[0].transition, found[2].transition) == ("HOMO -> LUMO", "HOMO-1 -> LUMO")
    assert all(one.weight is not None and 0.9 < one.weight <= 1 for one in found[:3])


def test_directions_of_pi_orbitals() -> None:
    numbers, positions = FORMALDEHYDE
    found = pi_directions(np.array(numbers), np.array(positions))
    np.testing.assert_allclose(found[:2], np.broadcast_to(np.diag([1.0, 0, 0]), (2, 3, 3)), atol=1e-12)
    assert not found[2:].any()
    numbers, positions = MOLECULES["hydrogen cyanide"]
    np.testing.assert_allclose(
        pi_directions(np.array(numbers), np.array(positions))[1], np.diag([1.0, 1, 0]), atol=1e-12
    )
    numbers, positions = MOLECULES["water"]
    assert not pi_directions(np.array(numbers), np.array(positions)).any()  # a lone pair


def test_a_range_gives_all_states_in_it(formaldehyde: Any) -> None:
    some, _ = excited_states(formaldehyde, States(method="tda", number=8))
    limit = (some[3].energy_ev + some[4].energy_ev) / 2
    within, findings = excited_states(formaldehyde, States(method="tda", up_to_ev=limit))
    np.testing.assert_allclose([one.energy_ev for one in within], [one.energy_ev for one in some[:4]], atol=1e-3)
    assert findings == []
    assert excited_states(formaldehyde, States(method="tda", up_to_ev=1.0))[0] == ()


def test_a_triplet_below_the_ground_state_is_told_of() -> None:
    """Ethene turned by 90 degrees; PySCF's full TDDFT gives 5.9 eV for T1 here, the next one."""
    numbers, positions = ETHENE
    turned = [*positions[:4], [0.923, 0, 1.894], [-0.923, 0, 1.894]]
    field = converged(numbers, turned, level=EXCITED)
    found, findings = excited_states(field, States(number=1), triplets=True)
    assert all(one.multiplicity == 1 for one in found)
    assert any("no triplets: a state lies" in text for text in findings)


def test_no_integral_is_computed_without_density_fitting(formaldehyde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def tripped(*_: Any, **__: Any) -> None:
        raise AssertionError("direct integrals")

    for name in ("direct", "direct_mapdm", "direct_bindm", "incore"):
        monkeypatch.setattr(_vhf, name, tripped)
    assert len(excitations(formaldehyde, 2)) == 2


def test_all_states_of_hydrogen_add_up_to_its_polarizability(hydrogen: Any) -> None:
    """The sum of f / energy^2 over all states is the mean static polarizability."""
    found = excitations(hydrogen, 100)
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


def test_a_saddle_point_has_no_excitations(formaldehyde: Any) -> None:
    found, findings = excited_states(doubly_excited(formaldehyde), States(method="tda", number=2))
    assert found == ()
    assert "which is not the ground state" in findings[0]


def test_an_open_shell_has_no_triplets(hydrogen: Any) -> None:
    found, findings = excited_states(of_both_spins(hydrogen), States(number=1), triplets=True)
    assert [one.multiplicity for one in found] == [None]
    assert "no triplets of an open shell" in findings[0]


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
