"""Acquisition: which scored candidates are worth a DFT calculation.

A score says how good one candidate looks by itself; a batch is picked greedily, each score lowered by the candidate's
similarity to what was chosen before (maximal marginal relevance, Carbonell & Goldstein, SIGIR 1998, as a product so
that it does not depend on the scale of the scores).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gapsmith.coordinator.probability import joint_probability
from gapsmith.core.chemistry.identity import tanimoto
from gapsmith.core.wanted import Window

Strategy = Literal["probability", "nearest", "random"]
OUT_OF_DISTRIBUTION_FACTOR = 0.5  # a prediction far from the training data is worth half


def scores(
    strategy: Strategy,
    mean: np.ndarray,
    std: np.ndarray,
    correlation: np.ndarray,
    out_of_distribution: np.ndarray,
    windows: Sequence[Window],
    *,
    seed: int,
) -> np.ndarray:
    """How good each candidate looks by itself.

    Args:
        strategy: ``probability`` that all windows hold; ``nearest``, 1 / (1 + distance of the predictions from the middle
            of the windows); ``random``, uniform and blind to everything.
        mean: (candidates, properties) predictions.
        std: (candidates, properties) their standard deviations.
        correlation: (candidates, properties, properties) of their errors.
        out_of_distribution: (candidates,) bool: far from what the model was trained on.
        windows: the wanted ranges, in the order of the properties.
        seed: of the random strategy; equal seeds give equal scores.

    Returns:
        (candidates,) within 0 to 1, higher is better.
    """
    if strategy == "random":
        return np.random.default_rng(seed).random(len(mean))
    if strategy == "nearest":
        plain = 1.0 / (1.0 + distances(mean, windows))
    else:
        plain = joint_probability(mean, std, correlation, windows)
    return np.where(out_of_distribution, OUT_OF_DISTRIBUTION_FACTOR * plain, plain)


def distances(mean: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """How far predictions, (candidates, properties), are from the middle of the windows, by the one that is farthest.

    In units of the windows' scales: 1 at the edge of a window, 0 in the middle, and far inside a limit on one side.
    """
    outside = [
        np.maximum(window.low - mean[:, index], mean[:, index] - window.high) / window.scale
        for index, window in enumerate(windows)
    ]
    return np.asarray(np.maximum(1.0 + np.max(outside, axis=0), 0.0))


def pick(
    score: np.ndarray,
    fingerprints: np.ndarray,
    taken: np.ndarray,
    count: int,
    *,
    diversity: float,
    distance: np.ndarray | None = None,
) -> list[int]:
    """Pick a batch: always the largest ``score * (1 - diversity * similarity)``.

    The similarity is the largest Tanimoto similarity to anything taken or picked so far. Equal values are told apart by
    the lower similarity, then the smaller distance, then the order.

    Args:
        score: (candidates,) not negative.
        fingerprints: (candidates, bytes) uint8, packed bits.
        taken: (molecules, bytes) uint8 of what was chosen or computed before.
        count: how many to pick at most.
        diversity: weight from 0 (plain ranking) to 1 (an exact duplicate is worth nothing).
        distance: (candidates,) of the predictions from the windows: what decides where all probabilities are 0.

    Returns:
        Indices into ``score``, best first.
    """
    similarity = np.zeros(len(score))
    if diversity > 0:
        for fingerprint in taken:
            similarity = np.maximum(similarity, tanimoto(fingerprint.tobytes(), fingerprints))
    distance = np.zeros(len(score)) if distance is None else distance
    left = np.arange(len(score))
    picked: list[int] = []
    while len(left) and len(picked) < count:
        malus = diversity * similarity[left]
        order = np.lexsort((left, distance[left], malus, -score[left] * (1.0 - malus)))
        best = int(left[order[0]])
        picked.append(best)
        left = left[left != best]
        if diversity > 0:
            similarity = np.maximum(similarity, tanimoto(fingerprints[best].tobytes(), fingerprints))
    return picked


def displaced(
    score: np.ndarray,
    queued: np.ndarray,
    fingerprints: np.ndarray,
    taken: np.ndarray,
    *,
    diversity: float,
    advantage: float,
    distance: np.ndarray | None = None,
) -> tuple[list[int], list[int]]:
    """Which queued candidates should give way to which waiting ones after the scores have changed.

    The places in the queue are given out anew, with the scores of those that hold one multiplied by ``advantage``: only
    what is clearly worse loses its place.

    Args:
        score: (candidates,) of queued and waiting ones.
        queued: (candidates,) bool: holds a place now.
        fingerprints: (candidates, bytes) uint8.
        taken: (molecules, bytes) uint8 of what is running or computed.
        diversity: as in ``pick``.
        advantage: at least 1.
        distance: as in ``pick``.

    Returns:
        Indices of those that lose their place, and of those that get one.
    """
    favoured = np.where(queued, score * advantage, score)
    chosen = pick(favoured, fingerprints, taken, int(queued.sum()), diversity=diversity, distance=distance)
    leaving = [int(index) for index in np.flatnonzero(queued) if index not in chosen]
    return leaving, [index for index in chosen if not queued[index]]
