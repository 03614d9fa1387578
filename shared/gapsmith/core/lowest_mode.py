"""The lowest vibrational mode of a geometry from a few gradients: is the geometry a minimum?

Davidson's method (J. Comput. Phys. 17, 87 (1975)) on the mass-weighted Hessian without translations and rotations. A product
with the Hessian is a difference of two gradients; ten to twenty replace the 6N gradients of the whole Hessian.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from gapsmith.core.chemistry.elements import masses_u
from gapsmith.core.chemistry.model_hessian import model_hessian

STEP_BOHR: Final = 0.005  # largest displacement of an atom in a difference of gradients
MOST_PRODUCTS: Final = 30
SEED: Final = 7
SOFTEST: Final = 2e-3  # hartree / bohr^2, least curvature of the model that the search starts from
SHARE: Final = 0.4  # of the curvature: the residual at which the search ends, with the wavenumber right within per cent
FALLING_CM1: Final = -40.0  # what is above is the noise of gradients and of loosely converged geometries
HARTREE_TO_CM1: Final = 219474.6313632
U_TO_ELECTRON_MASS: Final = 1822.888486209
NOISE: Final = U_TO_ELECTRON_MASS * (20.0 / HARTREE_TO_CM1) ** 2  # curvature of a mode at 20 cm^-1
SOFT: Final = U_TO_ELECTRON_MASS * (300.0 / HARTREE_TO_CM1) ** 2  # stiffer than that, a softer one may be missing yet


@dataclass(frozen=True)
class Mode:
    """A harmonic vibration."""

    wavenumber_cm1: float  # negative: imaginary, the energy falls along it
    direction: np.ndarray  # (atoms, 3), Cartesian; the largest displacement of an atom is 1

    @property
    def falling(self) -> bool:
        """Whether the energy falls along it, beyond noise."""
        return self.wavenumber_cm1 < FALLING_CM1


def lowest_mode(
    numbers: np.ndarray, positions: np.ndarray, gradient: Callable[[np.ndarray], np.ndarray]
) -> Mode | None:
    """Find the softest vibration; None where there is none, as in an atom.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3), bohr.
        gradient: of the energy, (atoms, 3) in hartree / bohr, at positions in bohr.

    Raises:
        CalculationError: what ``gradient`` raises.
    """
    roots = np.repeat(np.sqrt(masses_u(numbers)), 3)
    vibrations = _vibrations(positions, roots)
    if vibrations.shape[1] == 0:
        return None
    values, vectors = np.linalg.eigh(
        vibrations.T @ (model_hessian(numbers, positions) / np.outer(roots, roots)) @ vibrations
    )
    values, space = np.maximum(values, SOFTEST / (roots**2).max()), vibrations @ vectors
    here = gradient(positions).ravel()

    def product(vector: np.ndarray) -> np.ndarray:
        shift = (space @ vector) / roots
        step = STEP_BOHR / _longest(shift)
        change = gradient(positions + step * shift.reshape(positions.shape)).ravel() - here
        return np.asarray(space.T @ (change / roots)) / step

    guess = np.random.default_rng(SEED).normal(size=len(values)) / values  # something of every symmetry
    basis, images = np.empty((0, len(values))), np.empty((0, len(values)))
    for _ in range(min(MOST_PRODUCTS, len(values))):
        for _ in range(2):  # the second time for the round-off of the first
            guess = guess - basis.T @ (basis @ guess)
            guess = guess / np.linalg.norm(guess)
        basis, images = np.vstack([basis, guess]), np.vstack([images, product(guess)])
        projected = basis @ images.T
        curvatures, turns = np.linalg.eigh((projected + projected.T) / 2)
        curvature, found = float(curvatures[0]), turns[:, 0] @ basis
        residual = turns[:, 0] @ images - curvature * found
        if np.linalg.norm(residual) < SHARE * min(abs(curvature), SOFT) + NOISE:
            break
        distance = values - curvature
        guess = residual / np.where(np.abs(distance) < 0.1 * values, 0.1 * values, distance)
    direction = ((space @ found) / roots).reshape(positions.shape)
    return Mode(wavenumber_cm1(curvature), direction / _longest(direction))


def along(
    numbers: np.ndarray,
    positions: np.ndarray,
    mode: Mode,
    gradient: Callable[[np.ndarray], np.ndarray],
    step: float = 0.05,
) -> Mode:
    """The same direction with the wavenumber that another method's gradients give it; ``step`` in bohr, as ``positions``."""
    ahead, behind = (gradient(positions + sign * step * mode.direction) for sign in (1, -1))
    curvature = float(((ahead - behind) * mode.direction).sum()) / (2 * step)
    mass = float((masses_u(numbers)[:, None] * mode.direction**2).sum())
    return Mode(wavenumber_cm1(curvature / mass), mode.direction)


def wavenumber_cm1(curvature: float) -> float:
    """Wavenumber of a curvature in hartree / (bohr^2 u); negative where the curvature is."""
    return float(np.sign(curvature) * np.sqrt(abs(curvature) / U_TO_ELECTRON_MASS) * HARTREE_TO_CM1)


def _vibrations(positions: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Orthonormal mass-weighted displacements that neither move nor turn the molecule, (3 atoms, vibrations)."""
    weights = roots[::3] ** 2
    centred = positions - weights @ positions / weights.sum()
    moves = [np.tile(axis, len(positions)) for axis in np.eye(3)]
    turns = [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    vectors, lengths, _ = np.linalg.svd(np.array([*moves, *turns]).T * roots[:, None])
    return np.asarray(vectors[:, int((lengths > 1e-4 * lengths[0]).sum()) :])


def _longest(displacements: np.ndarray) -> float:
    return float(np.sqrt((displacements.reshape(-1, 3) ** 2).sum(1)).max())
