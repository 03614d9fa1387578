"""Atoms in space: what is no geometry, which atoms are bonded, how many pieces there are."""

from functools import cache

import numpy as np

BOND_FACTOR = 1.25  # of the sum of covalent radii: closer atoms are bonded
BROKEN_FACTOR = 1.6  # farther ones are not; between the two nothing is said


def fault(numbers: np.ndarray, coordinates: np.ndarray, closest_angstrom: float) -> str | None:
    """What is wrong with a geometry, for a person; None if nothing.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.
        closest_angstrom: least distance of two atoms.
    """
    if len(numbers) == 0:
        return "no atoms"
    if np.ndim(numbers) != 1 or np.shape(coordinates) != (len(numbers), 3):
        return f"numbers {np.shape(numbers)} and coordinates {np.shape(coordinates)} must be (atoms,) and (atoms, 3)"
    if not np.isfinite(coordinates).all():
        return "coordinates hold values that are not finite"
    distances = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=-1) + 1e3 * np.eye(len(numbers))
    first, second = np.unravel_index(int(distances.argmin()), distances.shape)
    if distances[first, second] < closest_angstrom:
        return (
            f"atoms {first + 1} and {second + 1} (the first is 1) are {distances[first, second]:.3f} angstrom apart; "
            f"at least {closest_angstrom:g} is needed"
        )
    return None


@cache
def covalent_radius_angstrom(number: int) -> float:
    """Covalent radius of an element (Cordero et al., Dalton Trans. 2832 (2008), as RDKit has it)."""
    from rdkit.Chem import GetPeriodicTable

    return float(GetPeriodicTable().GetRcovalent(int(number)))


def element_symbol(number: int) -> str:
    """Symbol of an element."""
    from rdkit.Chem import GetPeriodicTable

    return str(GetPeriodicTable().GetElementSymbol(int(number)))


def rearranged(numbers: np.ndarray, before: np.ndarray, after: np.ndarray) -> str | None:
    """Which bonds broke or formed between two geometries (atoms, 3) in angstrom, in words; None if none did."""
    radii = np.array([covalent_radius_angstrom(int(number)) for number in numbers])
    sums = radii[:, None] + radii[None]
    old, new = (np.linalg.norm(x[:, None] - x[None], axis=-1) / sums for x in (before, after))
    upper = np.triu(np.ones_like(old, dtype=bool), k=1)
    broken = np.argwhere((old < BOND_FACTOR) & (new > BROKEN_FACTOR) & upper)
    formed = np.argwhere((old > BROKEN_FACTOR) & (new < BOND_FACTOR) & upper)
    words = [
        f"{_pair(numbers, pair)} {verb}" for pairs, verb in ((broken, "broke"), (formed, "formed")) for pair in pairs
    ]
    return ", ".join(words) or None


def fragments(positions: np.ndarray, reach: np.ndarray) -> int:
    """Number of pieces when atoms within ``reach`` (n, n) of each other hold together; same unit as positions."""
    near = np.sqrt(((positions[:, None] - positions[None]) ** 2).sum(-1)) < reach
    label = np.arange(len(positions))
    while True:
        lower = np.where(near, label[None], len(label)).min(1)
        if (lower == label).all():
            return len(np.unique(label))
        label = lower


def _pair(numbers: np.ndarray, pair: np.ndarray) -> str:
    return "-".join(f"{element_symbol(int(numbers[index]))}{index + 1}" for index in pair)
