"""GFN2-xTB relaxation: known geometries, rough starts, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tblite.interface import Calculator

from gapsmith.core.chemistry.geometry import distances, pieces
from gapsmith.core.chemistry.model_hessian import model_hessian
from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.core.xtb import METHOD, Relaxed, relax, rmsd

WATER = np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.9, 0.1, 0.0], [-0.2, 0.95, 0.1]])
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
METHANE = np.array([6, 1, 1, 1, 1]), np.concatenate([[[0, 0, 0]], TETRAHEDRON * 1.2])


def reference(numbers: np.ndarray, coordinates: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and gradient straight from tblite, with a fresh guess."""
    calculator = Calculator(METHOD, numbers, coordinates / BOHR_TO_ANGSTROM)
    calculator.set("verbosity", 0)
    result = calculator.singlepoint()
    return float(result.get("energy")), np.asarray(result.get("gradient"))


def angle(x: np.ndarray, centre: int, first: int, second: int) -> float:
    u, v = x[first] - x[centre], x[second] - x[centre]
    return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))


def test_water() -> None:
    relaxed = relax(*WATER)
    x = relaxed.coordinates
    for hydrogen in (1, 2):
        assert np.linalg.norm(x[hydrogen] - x[0]) == pytest.approx(0.959, abs=0.002)
    assert angle(x, 0, 1, 2) == pytest.approx(107.2, abs=0.5)
    energy, gradient = reference(WATER[0], x)
    assert relaxed.energy_hartree == pytest.approx(energy, abs=1e-6)
    assert np.abs(gradient).max() < 6e-4


def test_methane_is_a_tetrahedron() -> None:
    relaxed = relax(METHANE[0], METHANE[1] + np.random.default_rng(0).normal(0, 0.1, (5, 3)))
    x = relaxed.coordinates
    bonds = np.linalg.norm(x[1:] - x[0], axis=1)
    assert bonds == pytest.approx(np.full(4, 1.085), abs=0.01)
    assert angle(x, 0, 1, 2) == pytest.approx(109.47, abs=1.0)
    assert relaxed.gap_ev > 10
    assert relaxed.energy_hartree == pytest.approx(relax(*METHANE).energy_hartree, abs=5e-5)


def test_a_relaxed_geometry_stays() -> None:
    first = relax(*WATER)
    again = relax(WATER[0], first.coordinates)
    assert again.steps == 1
    assert again.rmsd_angstrom < 1e-6


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31))
def test_rough_formaldehyde_comes_back(seed: int) -> None:
    numbers = np.array([6, 8, 1, 1])
    clean = np.array([[0, 0, 0], [0, 0, 1.2], [0.94, 0, -0.59], [-0.94, 0, -0.59]])
    relaxed = relax(numbers, clean + np.random.default_rng(seed).normal(0, 0.12, clean.shape))
    assert np.linalg.norm(relaxed.coordinates[1] - relaxed.coordinates[0]) == pytest.approx(1.20, abs=0.02)
    assert relaxed.steps < 60


@pytest.mark.parametrize(
    ("numbers", "coordinates", "reason"),
    [
        ([8, 1, 1], [[0, 0, 0], [0, 0, np.nan], [0, 1, 0]], "not finite"),
        (
            [8, 1, 1],
            [[0, 0, 0], [0, 0, 0.01], [0, 1, 0]],
            r"atoms 1 and 2 \(O and H; the first is 1\) are 0.010",
        ),
        ([92, 8], [[0, 0, 0], [0, 0, 1.8]], "GFN2-xTB refuses"),
        ([8, 1], [[0, 0, 0], [0, 0, 0.96]], "9 electrons"),
        ([8, 1, 1], [[0, 0, 0], [0, 0, 0.96]], "must be"),
        ([], np.zeros((0, 3)), "no atoms"),
    ],
)
def test_broken_input_is_a_chemistry_failure(numbers: list[int], coordinates: object, reason: str) -> None:
    with pytest.raises(CalculationError, match=reason) as caught:
        relax(np.array(numbers, dtype=np.int64), np.array(coordinates, dtype=np.float64))
    assert caught.value.failure_class is FailureClass.CHEMISTRY


def test_a_molecule_that_falls_apart_is_refused() -> None:
    two = np.concatenate([METHANE[1], METHANE[1] * [1, 1, -1] + [1.7, 0.2, 0.1]])  # two methanes inside each other
    with pytest.raises(CalculationError, match="falls apart into 2 fragments"):
        relax(np.tile(METHANE[0], 2), two)


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(CalculationError, match="does not converge in 2 steps"):
        relax(*WATER, max_steps=2)


def test_a_charge_is_used() -> None:
    hydroxide: Relaxed = relax(np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 1.0]]), charge=-1)
    assert np.linalg.norm(hydroxide.coordinates[1] - hydroxide.coordinates[0]) == pytest.approx(0.965, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_model_hessian_is_positive_and_turns_with_the_molecule(seed: int) -> None:
    draw = np.random.default_rng(seed)
    positions = METHANE[1] / BOHR_TO_ANGSTROM + draw.normal(0, 0.2, (5, 3))
    hessian = model_hessian(METHANE[0], positions)
    assert np.linalg.eigvalsh(hessian).min() > 1e-3
    turn, _ = np.linalg.qr(draw.standard_normal((3, 3)))
    block = np.kron(np.eye(5), turn)
    np.testing.assert_allclose(model_hessian(METHANE[0], positions @ turn.T), block @ hessian @ block.T, atol=1e-10)


def test_fragments_and_rmsd() -> None:
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [6, 0, 0], [2, 0, 0]])
    assert pieces(distances(positions) < 1.5)[0] == 2
    assert pieces(distances(positions) < 3.5)[0] == 1
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    assert rmsd(WATER[1], WATER[1] @ turn.T + 5) == pytest.approx(0, abs=1e-6)
    assert rmsd(np.array([[-1.0, 0, 0], [1, 0, 0]]), np.array([[-2.0, 0, 0], [2, 0, 0]])) == pytest.approx(1.0)
