"""How much better than the hits so far a candidate is expected to be, by the objectives of a target.

The expected improvement of one objective (Jones, Schonlau, Welch, J. Glob. Optim. 13, 455, 1998), or the expected growth
of the area that the front of two dominates (Emmerich, Deutz, Klinkenberg, CEC 2011), in closed form for independent
errors. Multiplied by the probability that all windows hold, it is what a calculation is worth (Gardner et al., ICML 2014).
"""

import numpy as np
from scipy.special import ndtr


def expected_improvement(mean: np.ndarray, std: np.ndarray, hits: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """The improvement that is expected of each candidate.

    Args:
        mean: (candidates, objectives), one or two of them, each the more the better.
        std: (candidates, objectives), positive.
        hits: (hits, objectives) of what was found so far.
        worst: (objectives,) from which an improvement counts.

    Returns:
        (candidates,) not negative: a length or an area, in units of the objectives.
    """
    better = hits[(hits > worst).all(axis=1)]
    if mean.shape[1] == 1:
        return _excess(mean[:, 0], std[:, 0], max([worst[0], *better[:, 0]]))
    front = _front(better)
    starts, ends = np.append(worst[0], front[:, 0]), np.append(front[:, 0], np.inf)
    heights = np.append(front[:, 1], worst[1])
    total = np.zeros(len(mean))
    for start, end, height in zip(starts, ends, heights, strict=True):  # strips under the front
        width = _excess(mean[:, 0], std[:, 0], start) - _excess(mean[:, 0], std[:, 0], end)
        total += width * _excess(mean[:, 1], std[:, 1], height)
    return np.maximum(total, 0.0)


def _front(points: np.ndarray) -> np.ndarray:
    """The points that no other one dominates, by the first coordinate."""
    order = points[np.lexsort((-points[:, 1], -points[:, 0]))]  # the first coordinate falls
    best = np.maximum.accumulate(order[:, 1]) if len(order) else order[:, 1]
    kept = np.ones(len(order), dtype=bool)
    kept[1:] = order[1:, 1] > best[:-1]
    return np.asarray(order[kept][::-1])


def _excess(mean: np.ndarray, std: np.ndarray, limit: float) -> np.ndarray:
    """How much a normal variable is expected to exceed a limit by."""
    if np.isinf(limit):
        return np.zeros(len(mean))
    z = (mean - limit) / std
    return np.asarray(std * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))
