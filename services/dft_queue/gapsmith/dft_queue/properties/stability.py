"""Is a wave function a minimum? The lowest curvature of the energy in the space of orbital rotations.

Bauernschmitt and Ahlrichs, J. Chem. Phys. 104, 9047 (1996). PySCF's own ``stability`` looks for three roots, from a start
that is spread over all rotations, and at complex orbitals too. For a molecule of five heavy atoms that takes 218 products
with the Hessian; the two lowest roots take 19.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pyscf import lib

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.properties.frontier import frontier_curvature
from gapsmith.dft_queue.properties.response import by_spin, prepared, unrestricted

UNSTABLE_HARTREE: Final = -1e-4  # curvature below which an instability is believed
CLEARLY_STABLE_HARTREE: Final = 0.03  # of the frontier bound; the exact one is at most 0.015 lower (17 molecules)
TOLERANCE: Final = 1e-4  # hartree
MOST_CYCLES: Final = 50
GUESSES: Final = 4  # excitations of the lowest orbital-energy differences
ROTATIONS: Final = (0.1, 0.2, 0.4, 0.8)  # radians, tried along an instability


@dataclass(frozen=True)
class Stability:
    """What a wave function is stable against."""

    internal: bool  # any change of its own kind, restricted or unrestricted
    external: bool  # restricted to unrestricted; always so for unrestricted ones
    orbitals: np.ndarray | None = None  # ([2,] functions, orbitals) to go on from, where it is internally unstable
    density: np.ndarray | None = None  # of these orbitals, with PySCF's tags

    @property
    def stable(self) -> bool:
        """Against everything."""
        return self.internal and self.external


def check_stability(field: Any) -> Stability:
    """Stability of a converged Kohn-Sham field with real orbitals; the field is left as it was.

    Raises:
        CalculationError: the lowest curvature does not converge (chemistry).
    """
    ready = prepared(field)
    external = unrestricted(ready) or (_lowest(ready, ready.gen_response(singlet=False, hermi=1))[0] > UNSTABLE_HARTREE)
    curvature, rotations = _lowest(ready, ready.gen_response(hermi=1))
    if curvature > UNSTABLE_HARTREE:
        return Stability(internal=True, external=external)
    orbitals = _downhill(ready, rotations)
    density = field.make_rdm1(orbitals, field.mo_occ)
    return Stability(internal=False, external=external, orbitals=orbitals, density=density)


def stable_against_unrestricted(field: Any) -> bool:
    """Whether a restricted field lies below every unrestricted one in its neighbourhood.

    The frontier orbitals decide where they can: an upper bound below zero is an instability, and one far above zero none.

    Raises:
        CalculationError: the lowest curvature does not converge (chemistry).
    """
    bound = frontier_curvature(field)
    if bound is not None and not UNSTABLE_HARTREE < bound < CLEARLY_STABLE_HARTREE:
        return bound > UNSTABLE_HARTREE
    ready = prepared(field)
    return _lowest(ready, ready.gen_response(singlet=False, hermi=1))[0] > UNSTABLE_HARTREE


def _lowest(ready: Any, response: Callable[[np.ndarray], np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Lowest eigenvalue, in hartree, of the electronic Hessian, and its rotations (empty, occupied) of each spin."""
    spaces, differences = [], []
    for coefficients, energies, filled in by_spin(ready):
        spaces.append((coefficients[:, filled == 0], coefficients[:, filled > 0]))
        differences.append(energies[filled == 0, None] - energies[filled > 0])
    diagonal = np.concatenate([np.ravel(block) for block in differences])
    electrons = 3 - len(spaces)  # in an orbital

    def blocks(vector: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([block.size for block in differences])[:-1]
        parts = np.split(vector, ends)
        return [part.reshape(block.shape) for part, block in zip(parts, differences, strict=True)]

    def product(vector: np.ndarray) -> np.ndarray:
        change = [
            electrons * empty @ part @ filled.T for part, (empty, filled) in zip(blocks(vector), spaces, strict=True)
        ]
        densities = np.array([part + part.T for part in change])
        potentials = response(densities if len(spaces) == 2 else densities[0]).reshape(densities.shape)
        coupled = [empty.T @ one @ filled for one, (empty, filled) in zip(potentials, spaces, strict=True)]
        return np.asarray(diagonal * vector + np.concatenate([np.ravel(part) for part in coupled]))

    def preconditioned(residual: np.ndarray, value: float, _: np.ndarray) -> np.ndarray:
        distance = diagonal - value
        return np.asarray(residual / np.where(np.abs(distance) < 1e-8, 1e-8, distance))

    if not diagonal.size:
        return np.inf, []
    guesses = [np.eye(1, diagonal.size, place)[0] for place in np.argsort(diagonal)[:GUESSES]]
    guesses.append(1 / np.maximum(diagonal, 1e-2) ** 2)  # something of every symmetry
    converged, value, vector = lib.davidson1(
        lambda vectors: [product(one) for one in vectors],
        guesses,
        preconditioned,
        tol=TOLERANCE,
        max_cycle=MOST_CYCLES,
        nroots=1,
        verbose=0,
    )
    if not converged[0] and value[0] > UNSTABLE_HARTREE:
        reason = "the stability of the wave function cannot be told: its lowest curvature did not converge"
        raise CalculationError(FailureClass.CHEMISTRY, reason)
    return float(value[0]), blocks(vector[0])


def _downhill(field: Any, rotations: list[np.ndarray]) -> np.ndarray:
    """Orbitals turned along an instability, as far as the energy falls most among a few angles."""
    best, found = np.inf, None
    norm = np.sqrt(sum(float((part**2).sum()) for part in rotations))
    for angle in ROTATIONS:
        turned = []
        for (coefficients, _, filled), part in zip(by_spin(field), rotations, strict=True):
            generator = np.zeros((filled.size, filled.size))
            generator[np.ix_(filled == 0, filled > 0)] = angle * part / norm
            turned.append(coefficients @ _exponential(generator - generator.T))
        orbitals = np.array(turned) if unrestricted(field) else turned[0]
        energy = field.energy_tot(dm=field.make_rdm1(orbitals, field.mo_occ))
        if energy < best:
            best, found = energy, orbitals
    assert found is not None  # there are angles
    return found


def _exponential(generator: np.ndarray) -> np.ndarray:
    """Rotation of an antisymmetric matrix."""
    values, vectors = np.linalg.eigh(1j * generator)
    return np.asarray(((vectors * np.exp(-1j * values)) @ vectors.conj().T).real)
