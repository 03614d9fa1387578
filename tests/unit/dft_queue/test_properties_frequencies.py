"""Harmonic frequencies: QM9's, how many there are, intensities by differences, either kind of wave function."""

from typing import Any

import numpy as np
import pytest
from wave_functions import converged, of_both_spins

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.dft_queue.properties.frequencies import KM_MOL, _blocks, frequencies

pytestmark = pytest.mark.slow

METHANE = (  # QM9's molecule 1
    [6, 1, 1, 1, 1],
    [
        [-0.0126981359, 1.0858041578, 0.0080009958],
        [0.0021504160, -0.0060313176, 0.0019761204],
        [1.0117308433, 1.4637511618, 0.0002765748],
        [-0.5408150690, 1.4475266138, -0.8766437152],
        [-0.5238136345, 1.4379326443, 0.9063972942],
    ],
)
WATER = (  # QM9's molecule 3
    [8, 1, 1],
    [
        [-0.0343604951, 0.9775395708, 0.0076015923],
        [0.0647664923, 0.0205721989, 0.0015346341],
        [0.8717903737, 1.3007924048, 0.0006931336],
    ],
)
CYANIDE = ([6, 7, 1], [[-0.0005, 0.0285, 0.0], [0.015, -1.123, -0.006], [-0.015, 1.095, 0.006]])  # of hydrogen, 5


@pytest.mark.parametrize(
    ("geometry", "wavenumbers", "zero_point_hartree"),
    [
        (WATER, [1671.4222, 3803.6305, 3907.698], 0.021375),
        (
            METHANE,
            [1341.307, 1341.3284, 1341.365, 1562.6731, 1562.7453, 3038.3205, 3151.6034, 3151.6788, 3151.7078],
            0.044749,
        ),
    ],
    ids=["water", "methane"],
)
def test_frequencies_of_qm9(geometry: Any, wavenumbers: list[float], zero_point_hartree: float) -> None:
    found = frequencies(converged(*geometry))
    np.testing.assert_allclose(found.wavenumbers_cm1, wavenumbers, atol=3.5)
    assert found.zero_point_energy_hartree == pytest.approx(zero_point_hartree, abs=3e-5)
    assert found.imaginary == 0
    assert found.modes.shape == (len(wavenumbers), len(geometry[0]), 3)
    np.testing.assert_allclose(np.linalg.norm(found.modes, axis=(1, 2)), 1)


def test_a_coarse_grid_gives_the_bends_of_a_fine_one() -> None:
    """Hydrogen cyanide's zero-point energy in QM9; without translational invariance it comes out 0.0009 eV lower."""
    found = frequencies(converged(*CYANIDE))
    assert found.zero_point_energy_hartree * HARTREE_TO_EV == pytest.approx(0.45174, abs=2e-4)


def test_symmetry_decides_what_absorbs() -> None:
    """Of methane's modes only the two threefold ones change the dipole."""
    found = frequencies(converged(*METHANE)).ir_intensities_km_mol
    assert found[[3, 4, 5]].max() < 0.1
    np.testing.assert_allclose(found[:3], found[:3].mean(), rtol=0.02)
    np.testing.assert_allclose(found[6:], found[6:].mean(), rtol=0.02)
    assert found[:3].mean() > 5
    assert found[6:].mean() > 10


def test_intensities_are_those_of_the_dipole_along_the_modes() -> None:
    numbers, positions = WATER
    found = frequencies(converged(numbers, positions))
    masses, step = np.array([15.9949146, 1.00782503, 1.00782503]), 0.01
    for mode, intensity in zip(found.modes, found.ir_intensities_km_mol, strict=True):
        per_root_mass = mode / np.sqrt((masses @ mode**2).sum())  # of unit norm in mass-weighted coordinates
        ahead, behind = (
            converged(numbers, (np.array(positions) + sign * step * BOHR_TO_ANGSTROM * per_root_mass).tolist())
            for sign in (1, -1)
        )
        change = ahead.dip_moment(unit="AU", verbose=0) - behind.dip_moment(unit="AU", verbose=0)
        assert intensity == pytest.approx(KM_MOL * ((change / (2 * step)) ** 2).sum(), rel=0.02, abs=0.05)


def test_the_unit_of_intensities() -> None:
    """1 (debye / angstrom)^2 / amu is 42.2561 km / mol."""
    of_debye = KM_MOL / 4.80320471**2
    assert of_debye == pytest.approx(42.2561, rel=1e-5)


@pytest.mark.parametrize("noise_angstrom", [0.0, 2e-3])
def test_a_linear_molecule_has_one_mode_more(noise_angstrom: float) -> None:
    numbers, positions = CYANIDE
    noise = np.random.default_rng(5).normal(size=(3, 3)) * noise_angstrom
    turn = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0]
    found = frequencies(converged(numbers, ((np.array(positions) + noise) @ turn).tolist()))
    assert len(found.wavenumbers_cm1) == 4
    assert found.wavenumbers_cm1[1] == pytest.approx(found.wavenumbers_cm1[0], abs=3)  # bends along either direction
    assert 700 < found.wavenumbers_cm1[0] < 850


def test_planar_ammonia_is_a_saddle_point() -> None:
    half = np.sqrt(3) / 2
    found = frequencies(converged([7, 1, 1, 1], [[0, 0, 0], [1.0, 0, 0], [-0.5, half, 0], [-0.5, -half, 0]]))
    assert found.imaginary == 1
    assert found.wavenumbers_cm1[0] < -500
    np.testing.assert_allclose(found.modes[0][:, :2], 0, atol=1e-3)  # out of the plane
    assert found.zero_point_energy_hartree == pytest.approx(found.wavenumbers_cm1[1:].sum() / 2 / 219474.63, rel=1e-5)


def test_restricted_and_unrestricted_agree() -> None:
    field = converged(*WATER)
    restricted, unrestricted = frequencies(field), frequencies(of_both_spins(field))
    np.testing.assert_allclose(unrestricted.wavenumbers_cm1, restricted.wavenumbers_cm1, atol=0.5)
    np.testing.assert_allclose(unrestricted.ir_intensities_km_mol, restricted.ir_intensities_km_mol, rtol=2e-3)


def test_a_radical_has_frequencies() -> None:
    found = frequencies(converged([8, 1], [[0, 0, 0], [0, 0, 0.975]], spin=1))
    assert found.wavenumbers_cm1 == pytest.approx([3708], abs=20)


def test_an_atom_has_none() -> None:
    found = frequencies(converged([1], [[0, 0, 0]], spin=1))
    assert found.wavenumbers_cm1.shape == found.ir_intensities_km_mol.shape == (0,)
    assert found.zero_point_energy_hartree == 0


@pytest.mark.parametrize("unrestricted", [False, True])
def test_smaller_blocks_change_nothing(unrestricted: bool) -> None:
    water = converged(*WATER)
    field = water.to_uks() if unrestricted else water
    solver = field.Hessian()
    whole = np.array(solver.make_h1(field.mo_coeff, field.mo_occ))
    with _blocks(7):
        np.testing.assert_allclose(solver.make_h1(field.mo_coeff, field.mo_occ), whole, atol=1e-10)


def test_too_little_memory_is_said() -> None:
    field = converged(*WATER)
    field.max_memory = field.mol.max_memory = 0.1
    with pytest.raises(CalculationError, match="memory limit") as caught:
        frequencies(field)
    assert caught.value.failure_class == FailureClass.POISON
