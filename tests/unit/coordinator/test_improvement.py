"""Expected improvement by one and two objectives: known answers, draws, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.coordinator.improvement import expected_improvement

WORST = np.zeros(2)
FRONT = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 0.5], [1.5, 1.0], [-1.0, 9.0]])  # the last two do not belong to it


def grown(point: np.ndarray, hits: np.ndarray) -> float:
    """The area that a point adds to what hits dominate above zero, by counting the cells of a grid."""
    edges = np.linspace(0.0, 8.0, 801)
    centres = (edges[1:] + edges[:-1]) / 2
    x, y = np.meshgrid(centres, centres)
    covered = np.zeros(x.shape, bool)
    for hit in hits[(hits > 0).all(axis=1)]:
        covered |= (x < hit[0]) & (y < hit[1])
    return float(((x < point[0]) & (y < point[1]) & ~covered).sum() * (edges[1] - edges[0]) ** 2)


def test_one_objective_without_doubt_improves_by_its_lead() -> None:
    mean, std = np.array([[3.5], [2.0], [4.0]]), np.full((3, 1), 1e-9)
    found = expected_improvement(mean, std, np.array([[1.0], [3.0]]), np.zeros(1))
    np.testing.assert_allclose(found, [0.5, 0.0, 1.0], atol=1e-8)


def test_at_the_best_value_half_of_the_deviation_is_expected() -> None:
    found = expected_improvement(np.array([[3.0]]), np.array([[0.2]]), np.array([[3.0]]), np.zeros(1))
    assert found[0] == pytest.approx(0.2 / np.sqrt(2 * np.pi))


@pytest.mark.parametrize("point", [(4.0, 4.0), (2.5, 1.5), (0.5, 5.0), (1.0, 1.0), (6.0, 0.2)])
@pytest.mark.parametrize("hits", [FRONT, FRONT[:1], np.zeros((0, 2))])
def test_two_objectives_without_doubt_improve_by_the_area(point: tuple[float, float], hits: np.ndarray) -> None:
    found = expected_improvement(np.array([point]), np.full((1, 2), 1e-9), hits, WORST)
    assert found[0] == pytest.approx(grown(np.array(point), hits), abs=0.05)


def test_the_closed_form_agrees_with_draws() -> None:
    mean, std = np.array([[2.4, 1.9]]), np.array([[0.4, 0.5]])
    draws = mean + std * np.random.default_rng(3).standard_normal((2000, 2))
    certain = expected_improvement(draws, np.full(draws.shape, 1e-9), FRONT, WORST)
    found = expected_improvement(mean, std, FRONT, WORST)[0]
    assert found == pytest.approx(certain.mean(), abs=4 * certain.std() / np.sqrt(len(draws)))


@given(st.tuples(st.floats(-2, 6), st.floats(-2, 6)), st.floats(0.01, 1.0), st.floats(0.01, 2.0))
def test_more_of_an_objective_is_never_worth_less(point: tuple[float, float], std: float, more: float) -> None:
    mean = np.array([point, (point[0] + more, point[1]), (point[0], point[1] + more)])
    found = expected_improvement(mean, np.full((3, 2), std), FRONT, WORST)
    assert found.min() >= 0
    assert found[1:].min() >= found[0] - 1e-9
