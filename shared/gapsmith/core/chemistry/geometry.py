"""Atoms in space: what is not a geometry, which atoms are bonded, how many pieces there are, which bonds changed.

All judgements of distances are made here, with the thresholds below. A ratio is the distance of two atoms divided by the sum
of their covalent radii, which is their usual distance in a single bond.
"""

from typing import Final

import numpy as np
from scipy.sparse.csgraph import connected_components

from gapsmith.core.chemistry.elements import (
    MOST_NEIGHBOURS,
    MOST_NEIGHBOURS_OF_OTHERS,
    NOBLE_GASES,
    SYMBOLS,
    TRANSITION_METALS,
    bond_lengths_angstrom,
)
from gapsmith.core.domain import Molecule
from gapsmith.core.units import BOHR_TO_ANGSTROM

MOST_ATOMS: Final = 120  # memory limits end what is too much for a machine; this is what nobody means to ask for

CLOSEST_ANGSTROM: Final = 0.3  # atoms nearer than this coincide: no method converges; generated molecules may be rough
CRUSHED: Final = (
    0.6  # least ratio of a molecule that a person gives; N2 has 0.77, only bonds between metals are shorter
)
FORMED: Final = 1.1  # a bond that was not there has formed below this ratio, which only real bonds reach
BONDED: Final = 1.2  # atoms are bonded below it: the cage of bicyclo[1.1.1]pentane has a pair without a bond at 1.23
BROKEN: Final = (
    1.3  # a known bond is gone above it; a bond and a close contact overlap, so the limit differs from FORMED
)
UNBONDED: Final = 1.6  # whatever the elements, nothing is bonded above it; between BONDED and this, nothing is said
APART: Final = 2.0  # a relaxation has lost a piece above it: below, a stretched bond may still come back

# Lengths that files are written in by mistake, in angstrom; a ratio near 1 says which it was.
UNITS: Final = {"bohr": BOHR_TO_ANGSTROM, "nanometre": 10.0, "picometre": 0.01}
USUAL: Final = (0.75, 1.35)  # ratio of an atom to its nearest neighbour in molecules, with room for rough geometries

# Bond order at a distance, exp((r1 + r2 - d) / 0.3): Pauling, J. Am. Chem. Soc. 69, 542 (1947).
PAULING_ANGSTROM: Final = 0.3
# Least sum of these bond orders, by element. Without their hydrogens, benzene has 3.1 at C, hydrazine 0.9 at N and hydrogen
# peroxide 0.7 at O; of molecules that have none, carbon dioxide has 4.8, nitrogen trifluoride 2.2, oxygen difluoride 1.1.
LEAST_VALENCES: Final = {6: 3.4, 7: 1.3, 8: 0.9}

FLAT_ANGSTROM: Final = 1e-3  # a spread in z below this is a drawing's


def distances(coordinates: np.ndarray) -> np.ndarray:
    """Distances of all pairs, (atoms, atoms), in the unit of the coordinates; infinite on the diagonal."""
    positions = np.asarray(coordinates, dtype=np.float64).reshape(-1, 3)
    found = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(found, np.inf)
    return np.asarray(found)


def ratios(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Distances over the sums of covalent radii, (atoms, atoms); infinite on the diagonal."""
    return np.asarray(distances(coordinates) / bond_lengths_angstrom(numbers))


def fault(numbers: np.ndarray, coordinates: np.ndarray) -> str | None:
    """What is wrong with a geometry, for a person; None if nothing.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.
    """
    if len(numbers) == 0:
        return "no atoms"
    if np.ndim(numbers) != 1 or np.shape(coordinates) != (len(numbers), 3):
        return f"numbers {np.shape(numbers)} and coordinates {np.shape(coordinates)} must be (atoms,) and (atoms, 3)"
    if not np.isfinite(coordinates).all():
        return "coordinates hold values that are not finite"
    apart = distances(coordinates)
    first, second = np.unravel_index(int(apart.argmin()), apart.shape)
    if apart[first, second] < CLOSEST_ANGSTROM:
        return f"{_close(numbers, apart, (int(first), int(second)))}; at least {CLOSEST_ANGSTROM:g} is needed"
    return None


def crushed(numbers: np.ndarray, coordinates: np.ndarray) -> str | None:
    """Which two atoms are nearer than any bond of their elements, for a person; None if none are."""
    found = ratios(numbers, coordinates)
    metal = np.isin(numbers, list(TRANSITION_METALS))
    found[metal[:, None] & metal[None]] = np.inf
    first, second = np.unravel_index(int(found.argmin()), found.shape)
    if found[first, second] >= CRUSHED:
        return None
    usual = bond_lengths_angstrom(numbers)[first, second]
    close = _close(numbers, distances(coordinates), (int(first), int(second)))
    return f"{close}; a single bond between them has about {usual:.2f}"


def unit_instead(numbers: np.ndarray, coordinates: np.ndarray, unit: str = "angstrom") -> str | None:
    """Which unit a geometry seems to be written in instead of the one it was read in; None if that one fits.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom, after conversion.
        unit: the file's, as it was read.
    """
    known = {"angstrom": 1.0, **UNITS}
    judged = ~np.isin(numbers, [*TRANSITION_METALS, *NOBLE_GASES])  # which bond at other distances, or not at all
    nearest = ratios(numbers, coordinates).min(axis=1)[judged]
    low, high = USUAL
    if len(nearest) == 0 or not np.isfinite(nearest).all() or low <= np.median(nearest) <= high:
        return None
    for name, length in known.items():
        factor = length / known[unit]
        if name != unit and ((nearest * factor > low) & (nearest * factor < high)).all():
            return name
    return None


def drawn(numbers: np.ndarray, coordinates: np.ndarray) -> bool:
    """Whether it is a drawing: all atoms in the plane z = constant, although a C, N or Si has four neighbours."""
    if len(numbers) == 0 or np.ptp(np.asarray(coordinates)[:, 2]) > FLAT_ANGSTROM:
        return False
    neighbours = (ratios(numbers, coordinates) < BONDED).sum(axis=1)
    return bool((np.isin(numbers, (6, 7, 14)) & (neighbours >= 4)).any())


def lacks_hydrogens(numbers: np.ndarray, coordinates: np.ndarray) -> bool:
    """Whether a molecule was written without its hydrogens, or with some of them: most carbons lack bonds.

    Without any carbon, most of N and O count. Two atoms may be CO, C2 or CN; one carbon with hydrogens may be a carbene.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.
    """
    numbers = np.asarray(numbers)
    judged = numbers == 6 if (numbers == 6).any() else np.isin(numbers, (7, 8))
    hydrogens = int((numbers == 1).sum())
    if not judged.any() or (6 in numbers and (len(numbers) == 2 or (hydrogens and judged.sum() == 1))):
        return False
    orders = np.exp((bond_lengths_angstrom(numbers) - distances(coordinates)) / PAULING_ANGSTROM).sum(1)
    least = np.array([LEAST_VALENCES.get(int(number), 0.0) for number in numbers])
    return bool((orders < least)[judged].mean() > 0.5)


def electron_fault(nuclear_charge: int, charge: int, spin: int) -> str | None:
    """Why so many electrons cannot have so many unpaired, for a person; None if they can."""
    electrons = nuclear_charge - charge
    if electrons < 1 or spin < 0 or spin > electrons or (electrons - spin) % 2:
        return (
            f"{electrons} electrons cannot have {spin} unpaired (charge {charge}): "
            "an odd number of electrons needs an odd spin, an even number an even one"
        )
    return None


def pieces(adjacency: np.ndarray) -> tuple[int, np.ndarray]:
    """How many connected pieces a graph has, and which one each atom is in.

    Args:
        adjacency: (atoms, atoms) bool, symmetric.
    """
    count, label = connected_components(adjacency, directed=False)
    return int(count), np.asarray(label)


def bonded_pairs(atoms: int, bonds: np.ndarray) -> np.ndarray:
    """The graph of a list of bonds (bonds, 3), as (atoms, atoms) bool."""
    adjacency = np.zeros((atoms, atoms), dtype=bool)
    first, second = np.reshape(bonds, (-1, 3))[:, :2].T
    adjacency[first, second] = adjacency[second, first] = True
    return adjacency


def bond_graph(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Which atoms are bonded, by distance; an atom with more neighbours than its element can have loses the farthest.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.

    Returns:
        (atoms, atoms) bool, symmetric.
    """
    found = ratios(numbers, coordinates)
    adjacency = found < BONDED
    most = np.array([MOST_NEIGHBOURS.get(int(number), MOST_NEIGHBOURS_OF_OTHERS) for number in numbers])
    for atom in np.flatnonzero(adjacency.sum(axis=1) > most):
        spare = adjacency[atom] & (found[atom] > FORMED)
        farthest = sorted(np.flatnonzero(spare), key=lambda other: -found[atom, other])
        surplus = max(0, int(adjacency[atom].sum()) - int(most[atom]))
        for other in farthest[:surplus]:
            adjacency[atom, other] = adjacency[other, atom] = False
    return np.asarray(adjacency)


def same_connectivity(molecule: Molecule, coordinates_after: np.ndarray) -> bool:
    """Whether a relaxed geometry still has a molecule's bonds: none broken, none formed.

    Args:
        molecule: with explicit bonds.
        coordinates_after: (atoms, 3), angstrom, same order of atoms.
    """
    if np.shape(coordinates_after) != (len(molecule), 3) or not np.isfinite(coordinates_after).all():
        return False
    bonded = bonded_pairs(len(molecule), molecule.bonds)
    found = ratios(molecule.numbers, coordinates_after)
    return bool((found[bonded] < BROKEN).all() and (found[~bonded] > FORMED).all())


def rearranged(numbers: np.ndarray, before: np.ndarray, after: np.ndarray) -> str | None:
    """Which bonds broke or formed between two geometries (atoms, 3) in angstrom, in words; None if none did.

    The bonds before are not known, only their lengths, so a bond counts as changed if it crosses from BONDED to UNBONDED.
    """
    old, new = ratios(numbers, before), ratios(numbers, after)
    upper = np.triu(np.ones_like(old, dtype=bool), k=1)
    broken = np.argwhere((old < BONDED) & (new > UNBONDED) & upper)
    formed = np.argwhere((old > UNBONDED) & (new < BONDED) & upper)
    words = [
        f"{_pair(numbers, pair)} {verb}" for pairs, verb in ((broken, "broke"), (formed, "formed")) for pair in pairs
    ]
    return ", ".join(words) or None


def _pair(numbers: np.ndarray, pair: np.ndarray) -> str:
    return "-".join(f"{SYMBOLS[int(numbers[index])]}{index + 1}" for index in pair)


def _close(numbers: np.ndarray, apart: np.ndarray, pair: tuple[int, int]) -> str:
    first, second = pair
    elements = f"{SYMBOLS[int(numbers[first])]} and {SYMBOLS[int(numbers[second])]}"
    return f"atoms {first + 1} and {second + 1} ({elements}; the first is 1) are {apart[pair]:.3f} angstrom apart"
