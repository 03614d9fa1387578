"""Metrics of uncertainty on data whose noise is known, and the calibration of a network."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapsmith.surrogate.calibration import Recalibration, conformal_quantile, recalibration, whitening
from gapsmith.surrogate.metrics import coverage, crps, ence, mae, miscalibration_area, nll, uncertainty


@pytest.fixture(scope="module")
def noise() -> tuple[np.ndarray, np.ndarray]:
    """Errors drawn from the sigma that is claimed."""
    draw = np.random.default_rng(0)
    sigma = draw.uniform(0.05, 0.5, 40_000)
    return draw.standard_normal(40_000) * sigma, sigma


def test_true_sigma_is_calibrated(noise: tuple[np.ndarray, np.ndarray]) -> None:
    found = uncertainty(*noise)
    assert found["ence"] < 0.03
    assert found["miscalibration_area"] < 0.01
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert found["spearman_sigma_error"] > 0.4
    assert found["sharpness_ev"] == pytest.approx(np.sqrt((0.5**3 - 0.05**3) / 3 / 0.45), rel=0.01)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_wrong_sigma_is_found_and_scaled_back(noise: tuple[np.ndarray, np.ndarray], factor: float) -> None:
    error, sigma = noise
    wrong = uncertainty(error, sigma * factor)
    assert wrong["ence"] > 0.5
    assert wrong["miscalibration_area"] > 0.15
    found = recalibration(error, sigma * factor)
    np.testing.assert_allclose(found(sigma * factor), sigma, rtol=0.03)


def test_sigma_that_exaggerates_is_bent_back(noise: tuple[np.ndarray, np.ndarray]) -> None:
    error, sigma = noise
    found = recalibration(error, 0.7 * sigma**2.5)
    assert found.power == pytest.approx(1 / 2.5, rel=0.03)
    np.testing.assert_allclose(found(0.7 * sigma**2.5), sigma, rtol=0.05)


@pytest.mark.parametrize(
    ("error", "sigma"),
    [([0.2], [0.1]), ([0.0, 0.0], [0.1, 0.3]), ([0.5, -0.1, 0.2], [0.1, 0.1, 0.1]), ([9.0, 1e-9], [1e-4, 2.0])],
)
def test_few_or_odd_errors_leave_a_finite_calibration(error: list[float], sigma: list[float]) -> None:
    found = recalibration(np.array(error), np.array(sigma))
    assert np.isfinite(found).all()
    assert found.scale > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.2, 5.0))
def test_calibration_is_where_the_likelihood_is_best(seed: int, factor: float) -> None:
    draw = np.random.default_rng(seed)
    sigma = draw.uniform(0.1, 1.0, 5000)
    error = draw.standard_normal(5000) * sigma * factor
    best = recalibration(error, sigma)
    near = [Recalibration(best.scale * a, best.power + b) for a in (0.95, 1.0, 1.05) for b in (-0.05, 0.0, 0.05)]
    assert nll(error, best(sigma)) <= min(nll(error, other(sigma)) for other in near)


def test_known_values() -> None:
    zero, one = np.zeros(3), np.ones(3)
    assert nll(zero, one) == pytest.approx(0.5 * np.log(2 * np.pi))
    assert crps(zero, one) == pytest.approx(2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi))
    assert mae(np.array([-1.0, 3.0])) == 2.0
    assert coverage(np.array([0.0, 1.6, 1.7, 9.0]), np.ones(4)) == 0.5  # 90 % lie within 1.645 sigma
    assert ence(one, one, bins=1) == 0.0
    assert miscalibration_area(zero, one) == pytest.approx(0.5)


def test_crps_is_the_integral_of_its_definition() -> None:
    from scipy.special import ndtr

    grid = np.linspace(-20, 20, 400_001)
    for error, sigma in [(0.7, 0.4), (-2.0, 1.5)]:
        integrand = (ndtr((grid - error) / sigma) - (grid >= 0)) ** 2
        expected = np.trapezoid(integrand, grid)
        assert crps(np.array([error]), np.array([sigma])) == pytest.approx(expected, abs=1e-4)


def test_whitened_latents_have_unit_covariance() -> None:
    draw = np.random.default_rng(1)
    latent = draw.standard_normal((2000, 6)) @ draw.standard_normal((6, 6)) + 4
    mean, matrix = whitening(latent)
    np.testing.assert_allclose(np.cov((latent - mean) @ matrix, rowvar=False), np.eye(6), atol=1e-6)


@pytest.mark.parametrize("shape", ["normal", "laplace", "skewed"])
def test_conformal_intervals_cover_whatever_the_noise(shape: str) -> None:
    draw = np.random.default_rng(3)
    kinds: dict[str, Callable[[int], np.ndarray]] = {
        "normal": draw.standard_normal,
        "laplace": lambda n: draw.laplace(size=n),
        "skewed": lambda n: draw.gamma(2, size=n),
    }
    sigma = draw.uniform(0.1, 1.0, 6000)
    error = kinds[shape](6000) * sigma
    half = conformal_quantile(error[:3000], sigma[:3000])
    assert (np.abs(error[3000:]) <= half * sigma[3000:]).mean() == pytest.approx(0.9, abs=0.015)


def test_conformal_quantile_is_an_order_statistic() -> None:
    error = np.arange(1.0, 10.0)
    assert conformal_quantile(error, np.ones(9), 0.9) == 9.0  # (9 + 1) * 0.9 = 9th of 9
    assert conformal_quantile(error, np.ones(9), 0.5) == 5.0
    assert conformal_quantile(error, np.ones(9), 0.95) == np.inf  # too few to promise that
