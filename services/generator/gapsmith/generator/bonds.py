"""Bond orders and formal charges from a geometry: a table of bond lengths, then valences.

The table is the one that the field's stability metrics are defined by (Hoogeboom et al., EDM, ICML 2022, appendix):
typical lengths in picometres with margins of 10, 5 and 3 for single, double and triple bonds. It cannot see the
delocalised bonds of a benzene ring or a zwitterion; for those the lengths give the skeleton, the valences the orders.
"""

from typing import Final

import numpy as np

from gapsmith.core.chemistry.elements import VALENCES

SINGLE_PM: Final = {
    (1, 1): 74, (1, 6): 109, (1, 7): 101, (1, 8): 96, (1, 9): 92,
    (6, 6): 154, (6, 7): 147, (6, 8): 143, (6, 9): 135,
    (7, 7): 145, (7, 8): 140, (7, 9): 136, (8, 8): 148, (8, 9): 142, (9, 9): 142,
}  # fmt: skip
DOUBLE_PM: Final = {(6, 6): 134, (6, 7): 129, (6, 8): 120, (7, 7): 125, (7, 8): 121, (8, 8): 121}
TRIPLE_PM: Final = {(6, 6): 120, (6, 7): 116, (6, 8): 113, (7, 7): 110}
ELEMENTS: Final = (1, 6, 7, 8, 9)  # that the tables know
MARGIN_PM: Final = (10, 5, 3)


def _limits() -> np.ndarray:
    """Longest bond by order and elements, (3, 10, 10), angstrom; 0 where there is none."""
    limits = np.zeros((3, 10, 10), dtype=np.float32)
    for order, (table, margin) in enumerate(zip((SINGLE_PM, DOUBLE_PM, TRIPLE_PM), MARGIN_PM, strict=True)):
        for (a, b), length in table.items():
            limits[order, a, b] = limits[order, b, a] = (length + margin) / 100
    return limits


LIMITS_ANGSTROM: Final = _limits()
_VALENCE: Final = np.zeros(10, dtype=np.int64)
_VALENCE[list(ELEMENTS)] = [VALENCES[z] for z in ELEMENTS]


def orders_by_length(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Bond orders by the table alone.

    Args:
        numbers: (..., atoms) atomic numbers H C N O F, 0 where padded.
        coordinates: (..., atoms, 3), angstrom.

    Returns:
        (..., atoms, atoms) uint8, orders 0..3.
    """
    difference = coordinates[..., :, None, :] - coordinates[..., None, :, :]
    distance = np.sqrt((difference**2).sum(-1))
    distance[..., np.arange(numbers.shape[-1]), np.arange(numbers.shape[-1])] = np.inf
    left, right = numbers[..., :, None], numbers[..., None, :]
    orders = np.zeros(distance.shape, dtype=np.uint8)
    for order in range(3):
        orders[distance < LIMITS_ANGSTROM[order, left, right]] = order + 1
    return orders


def has_valences(numbers: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Which atoms have the valence of the neutral element (EDM's atom stability), (..., atoms) bool."""
    return np.asarray(orders.sum(-1, dtype=np.int64) == _VALENCE[numbers])


def assign(numbers: np.ndarray, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Bond orders (atoms, atoms) uint8 and formal charges (atoms,) int8 of one molecule, or None if none fit.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.
    """
    numbers = np.asarray(numbers, dtype=np.int64)
    if not np.isin(numbers, ELEMENTS).all():
        return None
    orders = orders_by_length(numbers, coordinates)
    if has_valences(numbers, orders).all():
        return orders, np.zeros(len(numbers), dtype=np.int8)
    return _orders_by_valence(numbers, coordinates, (orders > 0).astype(np.int8))


def _orders_by_valence(
    numbers: np.ndarray, coordinates: np.ndarray, skeleton: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Fill the valences of a skeleton of single bonds: N of four bonds becomes N+, as many open O or N anions."""
    charges = np.zeros(len(numbers), dtype=np.int8)
    free = _VALENCE[numbers] - skeleton.sum(-1, dtype=np.int64)
    cations = np.flatnonzero((numbers == 7) & (free == -1))
    charges[cations], free[cations] = 1, 0
    if (free < 0).any():
        return None
    anions = np.flatnonzero(np.isin(numbers, (7, 8)) & (free > 0))
    for chosen in _subsets(anions.tolist(), len(cations)):
        rest, signed = free.copy(), charges.copy()
        rest[chosen] -= 1
        signed[chosen] = -1
        orders = skeleton.copy()
        distance = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=-1)
        if _fill(orders, rest, distance, [2000]):
            return orders.astype(np.uint8), signed
    return None


def _subsets(items: list[int], count: int) -> list[list[int]]:
    if count == 0:
        return [[]]
    return [[first, *rest] for i, first in enumerate(items) for rest in _subsets(items[i + 1 :], count - 1)][:64]


def _fill(orders: np.ndarray, free: np.ndarray, distance: np.ndarray, budget: list[int]) -> bool:
    """Raise bond orders in place until no valence is free, shortest bonds first, by backtracking; False if it fails."""
    open_atoms = np.flatnonzero(free)
    if len(open_atoms) == 0:
        return True
    budget[0] -= 1
    if budget[0] < 0:
        return False

    def partners(atom: int) -> list[int]:
        near = np.flatnonzero((orders[atom] > 0) & (orders[atom] < 3) & (free > 0))
        return [int(i) for i in near[np.argsort(distance[atom][near], kind="stable")]]

    atom = min((int(i) for i in open_atoms), key=lambda i: len(partners(i)))
    for other in partners(atom):
        for change in (1, -1):
            orders[atom, other] += change
            orders[other, atom] += change
            free[[atom, other]] -= change
            if change == 1 and _fill(orders, free, distance, budget):
                return True
    return False
