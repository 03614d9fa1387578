"""The probability that properties which are not independent of each other lie in their windows, all of them at once.

Integrals of a multivariate normal distribution over a box, by A. Genz's transformation (J. Comput. Graph. Stat. 1, 141,
1992): each property is drawn inside its window, given those before it, so that even what is nearly impossible has a
probability above 0 by which it can be ranked. The points are the same for all candidates, so that their noise is, too.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from gapsmith.core.wanted import Window

POINTS = 256  # of the integral: two digits, which is more than any deviation is worth
CHUNK = 2048  # candidates at once
_ROOTS = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0, 31.0])  # Richtmyer's sequence of points


def window_probability(mean: np.ndarray, std: np.ndarray, window: Window) -> np.ndarray:
    """Probability that a property lies in its window under N(mean, std).

    Args:
        mean: (candidates,) predictions.
        std: (candidates,) their standard deviations, positive.
        window: the wanted range.

    Returns:
        (candidates,) within 0 to 1, accurate to full precision in the tails as well.
    """
    return _between((window.low - mean) / std, (window.high - mean) / std)


def joint_probability(
    mean: np.ndarray, std: np.ndarray, correlation: np.ndarray, windows: Sequence[Window]
) -> np.ndarray:
    """Probability that all properties lie in their windows.

    Args:
        mean: (candidates, properties) predictions.
        std: (candidates, properties) their standard deviations, positive.
        correlation: (candidates, properties, properties) of their errors.
        windows: the wanted ranges, in the order of the properties.

    Returns:
        (candidates,) within 0 to 1; with one property it is ``window_probability``.
    """
    if len(windows) == 1:
        return window_probability(mean[:, 0], std[:, 0], windows[0])
    low = (np.array([window.low for window in windows]) - mean) / std
    high = (np.array([window.high for window in windows]) - mean) / std
    return np.concatenate(
        [
            _integral(low[start : start + CHUNK], high[start : start + CHUNK], correlation[start : start + CHUNK])
            for start in range(0, max(len(mean), 1), CHUNK)
        ]
    )


def _integral(low: np.ndarray, high: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Of standard normal variables with these correlations; all (candidates, properties, ...)."""
    count = low.shape[1]
    root = np.linalg.cholesky(0.999 * correlation + 0.001 * np.eye(count))  # measured ones may be singular
    points = (np.arange(1, POINTS + 1)[:, None] * _ROOTS[: count - 1]) % 1.0  # (points, properties - 1)
    drawn = np.zeros((len(low), POINTS, count))
    probability = np.ones((len(low), POINTS))
    for index in range(count):
        given = (drawn[:, :, :index] * root[:, None, index, :index]).sum(-1)
        scale = root[:, index, index, None]
        start, end = (low[:, index, None] - given) / scale, (high[:, index, None] - given) / scale
        probability *= _between(start, end)
        if index < count - 1:
            drawn[:, :, index] = _inside(start, end, points[:, index])
    return np.asarray(probability.mean(1))


def _between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    # a difference of two numbers near 1 loses everything: above the mean it is taken in the mirrored, small tail
    above = low > 0
    return np.asarray(np.clip(np.where(above, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)), 0.0, 1.0))


def _inside(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The value below which lies a share of the standard normal distribution between two limits."""
    above = low > 0
    near, far = np.where(above, -high, low), np.where(above, -low, high)
    part = np.where(above, 1 - share, share)
    found = ndtri(ndtr(near) + part * (ndtr(far) - ndtr(near)))
    return np.asarray(np.clip(np.where(above, -found, found), np.maximum(low, -40.0), np.minimum(high, 40.0)))
