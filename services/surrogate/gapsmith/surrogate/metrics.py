"""How good predictions and their standard deviations are. All arrays are (molecules,) in eV; sigma is positive."""

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import spearmanr


def mae(error: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.abs(error).mean())


def nll(error: np.ndarray, sigma: np.ndarray) -> float:
    """Mean negative log likelihood of a Gaussian, log eV."""
    return float((0.5 * np.log(2 * np.pi * sigma**2) + 0.5 * (error / sigma) ** 2).mean())


def crps(error: np.ndarray, sigma: np.ndarray) -> float:
    """Continuous ranked probability score of a Gaussian, eV (Gneiting and Raftery, JASA 2007, equation 21)."""
    z = error / sigma
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return float((sigma * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))).mean())


def ence(error: np.ndarray, sigma: np.ndarray, bins: int = 20) -> float:
    """Expected normalised calibration error over bins of equal count by sigma (Levi et al., Sensors 2022)."""
    order = np.argsort(sigma, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    expected = np.array([np.sqrt((sigma[part] ** 2).mean()) for part in parts])
    found = np.array([np.sqrt((error[part] ** 2).mean()) for part in parts])
    return float((np.abs(expected - found) / expected).mean())


def coverage(error: np.ndarray, sigma: np.ndarray, level: float = 0.9) -> float:
    """Share of errors inside the central interval that should hold ``level`` of them."""
    return float((np.abs(error) <= sigma * ndtri(0.5 + level / 2)).mean())


def miscalibration_area(error: np.ndarray, sigma: np.ndarray, points: int = 99) -> float:
    """Area between coverage and level over all levels: 0 is calibrated, 0.5 the worst (Tran et al., MLST 2020)."""
    levels = np.linspace(0, 1, points + 2)
    inside = ndtr(np.abs(error / sigma)) * 2 - 1  # the least level whose interval holds the error
    found = np.searchsorted(np.sort(inside), levels, side="right") / len(error)
    return float(np.trapezoid(np.abs(found - levels), levels))


def uncertainty(error: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """All of them, with sharpness (root mean square sigma) and the rank correlation of sigma and absolute error."""
    return {
        "nll": nll(error, sigma),
        "crps_ev": crps(error, sigma),
        "ence": ence(error, sigma),
        "miscalibration_area": miscalibration_area(error, sigma),
        "spearman_sigma_error": float(spearmanr(sigma, np.abs(error)).statistic),
        "coverage_90": coverage(error, sigma),
        "sharpness_ev": float(np.sqrt((sigma**2).mean())),
    }
