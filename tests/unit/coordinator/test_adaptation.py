"""Error bars that follow a campaign's own labels."""

import numpy as np
import pytest

from gapsmith.coordinator.adaptation import LATEST, Adaptation

STD = 0.1


def drawn(count: int, bias: float, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean = np.random.default_rng(seed).uniform(2, 5, count)
    error = bias + spread * np.random.default_rng(seed + 1).normal(size=count)
    return mean, np.full(count, STD), mean + error


def test_without_labels_predictions_are_taken_as_they_are() -> None:
    empty = np.zeros(0)
    assert Adaptation.of(empty, empty, empty) == Adaptation(0.0, 1.0)


def test_honest_error_bars_stay_as_they_are() -> None:
    found = [Adaptation.of(*drawn(40, 0.0, STD, seed)) for seed in range(20)]
    assert np.mean([one.factor for one in found]) == pytest.approx(1.0, abs=0.1)
    assert np.mean([one.shift for one in found]) == pytest.approx(0.0, abs=0.01)


def test_a_bias_is_taken_off_and_a_few_labels_do_so_carefully() -> None:
    many, few = Adaptation.of(*drawn(60, -0.3, 0.02)), Adaptation.of(*drawn(2, -0.3, 0.02))
    assert many.shift == pytest.approx(-0.3 * 60 / 65, abs=0.02)
    assert -0.1 < few.shift < -0.07


@pytest.mark.parametrize("times", [3.0, 10.0])
def test_intervals_cover_new_labels_of_the_same_kind(times: float) -> None:
    covered = []
    for seed in range(20):
        found = Adaptation.of(*drawn(60, 0.2, times * STD, seed=2 * seed))
        mean, std, label = drawn(1000, 0.2, times * STD, seed=1000 + seed)
        covered.append((np.abs(label - mean - found.shift) <= 1.645 * found.factor * std).mean())
    assert 0.85 <= np.mean(covered) <= 0.95


def test_one_outlier_among_many_does_not_widen_everything() -> None:
    mean, std, label = drawn(40, 0.0, STD)
    label[3] += 5.0
    assert Adaptation.of(mean, std, label).factor < 1.5


def test_the_latest_labels_count() -> None:
    mean, std, label = (
        np.concatenate(parts) for parts in zip(drawn(200, 2.0, 3.0), drawn(LATEST, 0.0, STD), strict=True)
    )
    assert Adaptation.of(mean, std, label).factor < 1.5
