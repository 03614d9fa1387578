"""Which part of a molecule to grow again: a connected patch of its heavy atoms."""

import numpy as np

from gapsmith.core.errors import InputError


def patch(
    bonds: np.ndarray, fraction: float, generator: np.random.Generator, free: np.ndarray | None = None
) -> np.ndarray:
    """A patch around a random atom, connected as far as the free atoms are.

    Args:
        bonds: (atoms, atoms), bond orders among the heavy atoms of a connected molecule.
        fraction: share of all atoms in the patch, 0 to 1; above 0 it holds at least one atom, at most all free ones.
        generator: draws.
        free: (atoms,) bool, the atoms that may be in the patch; None: all.

    Returns:
        (atoms,) bool, True where the molecule is to be grown again.

    Raises:
        InputError: the fraction is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"mask_fraction is {fraction}; it is a share of the atoms, 0 (keep all) to 1 (replace all)")
    atoms = len(bonds)
    masked, free = np.zeros(atoms, dtype=bool), np.ones(atoms, dtype=bool) if free is None else free
    wanted = 0 if fraction == 0 else min(int(free.sum()), max(1, round(fraction * atoms)))
    while masked.sum() < wanted:
        edge = np.flatnonzero((bonds[masked] > 0).any(0) & free & ~masked)
        choices = edge if len(edge) else np.flatnonzero(free & ~masked)
        masked[generator.choice(choices)] = True
    return masked
