"""Acquisition: known answers and properties."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.coordinator.acquisition import OUT_OF_DISTRIBUTION_FACTOR, Strategy, displaced, pick
from gapsmith.coordinator.acquisition import scores as scores_of
from gapsmith.coordinator.probability import joint_probability, window_probability
from gapsmith.core.wanted import Window

WINDOW = Window.around(4.0, 0.1)
gaps = st.floats(0.5, 16.0)
deviations = st.floats(0.01, 2.0)


def bits(*positions: int) -> np.ndarray:
    """A packed fingerprint with these bits set."""
    unpacked = np.zeros(64, dtype=np.uint8)
    unpacked[list(positions)] = 1
    return np.packbits(unpacked)


def scores(
    strategy: Strategy, mean: np.ndarray, std: np.ndarray, far: np.ndarray, window: Window, *, seed: int
) -> np.ndarray:
    """Of one property."""
    single = np.ones((len(mean), 1, 1))
    return scores_of(strategy, mean[:, None], std[:, None], single, far, [window], seed=seed)


def nothing() -> np.ndarray:
    """No fingerprints."""
    return np.zeros((0, 8), dtype=np.uint8)


def batches(most: int = 8) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Scores and fingerprints of a few candidates; some of the fingerprints are equal."""
    one = st.tuples(st.floats(0.0, 1.0), st.sets(st.integers(0, 15), min_size=1, max_size=6))
    return st.lists(one, min_size=1, max_size=most).map(
        lambda rows: (np.array([row[0] for row in rows]), np.stack([bits(*sorted(row[1])) for row in rows]))
    )


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        (4.0, 0.1, 0.682689492137086),  # one standard deviation either side
        (4.1, 0.2, 0.341344746068543),  # from the mean down to one below it
        (3.9, 0.1, 0.477249868051821),  # from the mean up to two above it
        (6.8, 0.1, NormalDist().cdf(-27.0)),  # 27 deviations away: far below what a difference near 1 could hold
    ],
)
def test_probability_of_known_windows(mean: float, std: float, expected: float) -> None:
    probability = window_probability(np.array([mean]), np.array([std]), WINDOW)[0]
    assert probability == pytest.approx(expected, rel=1e-9)
    assert probability > 0


@given(mean=gaps, std=deviations)
def test_probability_is_symmetric_about_the_middle(mean: float, std: float) -> None:
    means = np.array([mean, 2 * WINDOW.middle - mean])
    left, right = window_probability(means, np.array([std, std]), WINDOW)
    assert 0.0 <= left <= 1.0
    assert left == pytest.approx(right, rel=1e-6, abs=1e-300)


@given(near=st.floats(0.0, 3.0), farther=st.floats(0.001, 3.0), std=deviations)
def test_a_mean_farther_away_never_scores_higher(near: float, farther: float, std: float) -> None:
    means = WINDOW.middle + np.array([near, near + farther])
    for strategy in ("probability", "nearest"):
        first, second = scores(strategy, means, np.full(2, std), np.zeros(2, dtype=bool), WINDOW, seed=0)
        assert first >= second


def test_what_is_out_of_distribution_counts_less_but_not_for_the_blind_strategy() -> None:
    mean, std, far = np.full(2, 4.0), np.full(2, 0.2), np.array([False, True])
    for strategy in ("probability", "nearest"):
        near_score, far_score = scores(strategy, mean, std, far, WINDOW, seed=0)
        assert far_score == pytest.approx(OUT_OF_DISTRIBUTION_FACTOR * near_score)
    random = scores("random", mean, std, far, WINDOW, seed=5)
    np.testing.assert_array_equal(random, scores("random", mean + 3, std, ~far, WINDOW, seed=5))
    assert not np.array_equal(random, scores("random", mean, std, far, WINDOW, seed=6))


@given(batch=batches(), count=st.integers(0, 10))
def test_without_diversity_the_batch_is_the_ranking(batch: tuple[np.ndarray, np.ndarray], count: int) -> None:
    score, fingerprints = batch
    chosen = pick(score, fingerprints, fingerprints[:1], count, diversity=0.0)
    assert chosen == np.argsort(-score, kind="stable")[:count].tolist()


@given(batch=batches(), count=st.integers(0, 10), diversity=st.floats(0.0, 1.0))
def test_a_batch_has_no_repeats_and_is_deterministic(
    batch: tuple[np.ndarray, np.ndarray], count: int, diversity: float
) -> None:
    score, fingerprints = batch
    chosen = pick(score, fingerprints, nothing(), count, diversity=diversity)
    assert len(chosen) == len(set(chosen)) == min(count, len(score))
    assert chosen == pick(score, fingerprints, nothing(), count, diversity=diversity)


@given(batch=batches())
def test_with_full_diversity_duplicates_come_last(batch: tuple[np.ndarray, np.ndarray]) -> None:
    score, fingerprints = batch
    seen: set[bytes] = set()
    repeats = []
    for index in pick(score, fingerprints, nothing(), len(score), diversity=1.0):
        repeats.append(fingerprints[index].tobytes() in seen)
        seen.add(fingerprints[index].tobytes())
    assert repeats == sorted(repeats)  # once the first repeat comes, only repeats are left


def test_diversity_weighs_similarity_to_what_was_taken_before() -> None:
    fingerprints = np.stack([bits(0, 1, 2, 3), bits(8, 9)])
    taken = bits(0, 1, 2, 7)[None]  # similarity 3 / 5 to the first, none to the second
    score = np.array([0.9, 0.6])
    assert pick(score, fingerprints, taken, 1, diversity=0.3) == [0]  # 0.9 * (1 - 0.18) = 0.738
    assert pick(score, fingerprints, taken, 1, diversity=0.6) == [1]  # 0.9 * (1 - 0.36) = 0.576


def test_equal_scores_are_told_apart_by_distance() -> None:
    fingerprints = np.stack([bits(0), bits(1), bits(2)])
    distance = np.array([3.0, 1.0, 2.0])
    assert pick(np.zeros(3), fingerprints, nothing(), 3, diversity=0.0, distance=distance) == [1, 2, 0]


def test_only_what_is_clearly_worse_loses_its_place() -> None:
    fingerprints = np.stack([bits(index) for index in range(4)])
    queued = np.array([True, True, False, False])
    options: dict[str, Any] = {"diversity": 0.0, "advantage": 2.0}
    assert displaced(np.array([0.3, 0.4, 0.5, 0.1]), queued, fingerprints, nothing(), **options) == ([], [])
    assert displaced(np.array([0.1, 0.4, 0.5, 0.1]), queued, fingerprints, nothing(), **options) == ([0], [2])
    assert displaced(np.array([0.0, 0.1, 0.5, 0.4]), queued, fingerprints, nothing(), **options) == ([0, 1], [2, 3])


@given(batch=batches(), places=st.data())
def test_as_many_enter_the_queue_as_leave_it(batch: tuple[np.ndarray, np.ndarray], places: st.DataObject) -> None:
    score, fingerprints = batch
    queued = np.array(places.draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))))
    leaving, entering = displaced(score, queued, fingerprints, nothing(), diversity=0.5, advantage=2.0)
    assert len(leaving) == len(entering)
    assert all(queued[leaving])
    assert not any(queued[entering])


def test_erfc_form_agrees_with_the_distribution_function() -> None:
    for mean in np.linspace(2.0, 6.0, 41):
        normal = NormalDist(float(mean), 0.37)
        expected = normal.cdf(WINDOW.high) - normal.cdf(WINDOW.low)
        assert math.isclose(window_probability(np.array([mean]), np.array([0.37]), WINDOW)[0], expected, rel_tol=1e-6)


def together(correlation: float, count: int = 1) -> np.ndarray:
    """Correlations of two properties, the same for all candidates."""
    return np.broadcast_to(np.array([[1.0, correlation], [correlation, 1.0]]), (count, 2, 2))


BOX = [Window.around(4.0, 0.3), Window(high=-5.5, scale=0.3)]


def test_independent_properties_hold_together_with_the_product_of_their_probabilities() -> None:
    mean, std = np.array([[4.2, -5.3], [3.0, -6.0], [6.0, -4.0]]), np.array([[0.3, 0.2], [0.2, 0.4], [0.2, 0.2]])
    product = np.prod([window_probability(mean[:, i], std[:, i], BOX[i]) for i in (0, 1)], axis=0)
    np.testing.assert_allclose(joint_probability(mean, std, together(0.0, 3), BOX), product, rtol=1e-9)


@pytest.mark.parametrize("correlation", [-0.9, -0.3, 0.5, 0.95])
def test_the_joint_probability_is_that_of_draws(correlation: float) -> None:
    mean, std = np.array([[4.2, -5.4]]), np.array([[0.3, 0.2]])
    root = np.linalg.cholesky(together(correlation)[0])
    draws = mean + std * (np.random.default_rng(1).standard_normal((400_000, 2)) @ root.T)
    drawn = np.mean((np.abs(draws[:, 0] - 4.0) <= 0.3) & (draws[:, 1] <= -5.5))
    assert joint_probability(mean, std, together(correlation), BOX)[0] == pytest.approx(drawn, abs=0.004)


def test_properties_that_always_stray_together_are_as_likely_as_the_less_likely_one() -> None:
    mean, std = np.array([[4.5, -5.4]]), np.array([[0.3, 0.2]])
    one_sided = [Window(high=4.0, scale=1.0), Window(high=-5.5, scale=1.0)]
    alone = [window_probability(mean[:, i], std[:, i], one_sided[i])[0] for i in (0, 1)]
    assert joint_probability(mean, std, together(1.0), one_sided)[0] == pytest.approx(min(alone), rel=0.03)


def test_what_is_nearly_impossible_can_still_be_ranked() -> None:
    mean, std = np.array([[7.0, -3.0], [8.0, -3.0], [8.0, -2.0]]), np.full((3, 2), 0.15)
    found = joint_probability(mean, std, together(0.6, 3), BOX)
    assert found[0] > found[1] > found[2] > 0


@given(st.floats(-0.95, 0.95), gaps, st.floats(-9.0, -3.0))
def test_the_joint_probability_lies_between_its_bounds(correlation: float, gap: float, homo: float) -> None:
    mean, std = np.array([[gap, homo]]), np.array([[0.4, 0.3]])
    alone = [window_probability(mean[:, i], std[:, i], BOX[i])[0] for i in (0, 1)]
    found = joint_probability(mean, std, together(correlation), BOX)[0]
    assert max(0.0, sum(alone) - 1) - 0.02 <= found <= min(alone) + 0.02
