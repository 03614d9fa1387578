"""Acquisition: which scored candidates are worth a DFT calculation.

A score says how good one candidate looks by itself; a batch is picked greedily, each score lowered by the candidate's
similarity to what was chosen before (maximal marginal relevance, Carbonell & Goldstein, SIGIR 1998, as a product so
that it does not depend on the scale of the scores).
"""

import math
from typing import Literal

import numpy as np

from gapsmith.core.chemistry.identity import tanimoto
from gapsmith.core.domain import Window

Strategy = Literal["probability", "nearest", "random"]
OUT_OF_DISTRIBUTION_FACTOR = 0.5  # a prediction far from the training data is worth half

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def window_probability(mean_ev: np.ndarray, std_ev: np.ndarray, window: Window) -> np.ndarray:
    """Probability that a gap lies in the window under N(mean, std).

    Args:
        mean_ev: (candidates,) predicted gaps.
        std_ev: (candidates,) their standard deviations, positive.
        window: the wanted range.

    Returns:
        (candidates,) within 0 to 1, accurate to full precision in the tails as well.
    """
    scale = np.asarray(std_ev, dtype=np.float64) * math.sqrt(2.0)
    low, high = (window.low - mean_ev) / scale, (window.high - mean_ev) / scale
    # a difference of two numbers near 1 loses everything: below the mean it is taken in the mirrored, small tail
    below = low < 0
    inner, outer = np.where(below, -high, low), np.where(below, -low, high)
    return np.asarray(np.clip(0.5 * (_erfc(inner) - _erfc(outer)), 0.0, 1.0), dtype=np.float64)


def scores(
    strategy: Strategy,
    mean_ev: np.ndarray,
    std_ev: np.ndarray,
    out_of_distribution: np.ndarray,
    window: Window,
    *,
    seed: int,
) -> np.ndarray:
    """How good each candidate looks by itself.

    Args:
        strategy: ``probability`` of landing in the window; ``nearest``, 1 / (1 + distance of the predicted gap from
            the middle of the window in tolerances); ``random``, uniform and blind to everything.
        mean_ev: (candidates,) predicted gaps.
        std_ev: (candidates,) their standard deviations.
        out_of_distribution: (candidates,) bool: far from what the model was trained on.
        window: the wanted range.
        seed: of the random strategy; equal seeds give equal scores.

    Returns:
        (candidates,) within 0 to 1, higher is better.
    """
    if strategy == "random":
        return np.random.default_rng(seed).random(len(mean_ev))
    if strategy == "nearest":
        plain = 1.0 / (1.0 + np.abs(mean_ev - window.value) / window.tolerance)
    else:
        plain = window_probability(mean_ev, std_ev, window)
    return np.where(out_of_distribution, OUT_OF_DISTRIBUTION_FACTOR * plain, plain)


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
        distance: (candidates,) of the predicted gap from the window: what decides where all probabilities are 0.

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
