"""GFN2-xTB relaxation: known geometries, rough starts, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tblite.interface import Calculator

from gapsmith.core.chemistry.elements import masses_u
from gapsmith.core.chemistry.geometry import distances, pieces
from gapsmith.core.chemistry.model_hessian import model_hessian
from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.lowest_mode import lowest_mode, wavenumber_cm1
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.core.xtb import METHOD, Evaluator, Relaxed, relax, rmsd

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


FLAT = {
    "linear water": ([8, 1, 1], [[0, 0, 0], [0, 0, 0.96], [0, 0, -0.96]]),
    "flat ammonia": ([7, 1, 1, 1], [[0, 0, 0], [1.0392, 0.6, 0], [-1.0392, 0.6, 0], [0, -1.2, 0]]),
    "flat methane": ([6, 1, 1, 1, 1], [[0, 0, 0], [1.2, 0, 0], [-1.2, 0, 0], [0, 1.2, 0], [0, -1.2, 0]]),
    "eclipsed ethane": (
        [6, 6, 1, 1, 1, 1, 1, 1],
        [[0, 0, s * 0.765] for s in (1, -1)]
        + [[1.02 * np.cos(a), 1.02 * np.sin(a), s * 1.16] for s in (1, -1) for a in 2 * np.pi / 3 * np.arange(3)],
    ),
}  # fmt: skip


def hessian_wavenumbers(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Vibrations by central differences of tblite's gradient over all coordinates, in cm^-1, ascending."""
    size, step = coordinates.size, 0.005
    hessian = np.empty((size, size))
    for place in range(size):
        shift = np.zeros(size)
        shift[place] = step * BOHR_TO_ANGSTROM
        up, down = (reference(numbers, coordinates + sign * shift.reshape(-1, 3))[1] for sign in (1, -1))
        hessian[place] = (up - down).ravel() / (2 * step)
    masses = masses_u(numbers)
    weights = np.repeat(masses, 3) ** -0.5
    centred = coordinates - masses @ coordinates / masses.sum()
    rigid = [np.tile(axis, len(numbers)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    outer, _ = np.linalg.qr((np.array(rigid) / weights).T)
    inner = np.eye(size) - outer @ outer.T
    values = np.linalg.eigvalsh(inner @ (weights[:, None] * (hessian + hessian.T) / 2 * weights) @ inner)
    found = np.array([wavenumber_cm1(value) for value in values])
    return np.asarray(found[np.abs(found) > 1.0])  # without moving and turning


@pytest.mark.parametrize("name", FLAT)
def test_a_symmetric_start_ends_at_a_minimum(name: str) -> None:
    numbers, start = np.array(FLAT[name][0]), np.array(FLAT[name][1], dtype=float)
    relaxed = relax(numbers, start)
    assert hessian_wavenumbers(numbers, relaxed.coordinates).min() > 0
    assert relaxed.coordinates == pytest.approx(
        relax(numbers, start).coordinates
    )  # the displacement is always the same


@pytest.mark.parametrize("name", ["flat ammonia", "eclipsed ethane"])
def test_the_lowest_mode_is_that_of_the_whole_hessian(name: str) -> None:
    numbers, start = np.array(FLAT[name][0]), np.array(FLAT[name][1], dtype=float)
    for coordinates in (start, relax(numbers, start).coordinates):
        evaluate = Evaluator(numbers, coordinates / BOHR_TO_ANGSTROM)
        found = lowest_mode(numbers, coordinates / BOHR_TO_ANGSTROM, evaluate.precise_gradient)
        assert found is not None
        wanted = hessian_wavenumbers(numbers, coordinates).min()
        assert found.wavenumber_cm1 == pytest.approx(wanted, rel=0.05)
        assert found.falling == (coordinates is start)


def test_an_atom_has_no_mode() -> None:
    helium = np.array([2]), np.zeros((1, 3))
    assert lowest_mode(*helium, np.zeros_like) is None
    assert relax(np.array([10]), np.zeros((1, 3))).coordinates == pytest.approx(np.zeros((1, 3)), abs=0.1)
