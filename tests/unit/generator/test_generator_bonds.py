"""Bond orders out of geometries: molecules whose answer is in every textbook."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapsmith.generator import bonds


def ring(atoms: int, radius: float) -> np.ndarray:
    angle = 2 * np.pi * np.arange(atoms) / atoms
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(atoms)], axis=1)


def methane() -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.09 / np.sqrt(3)
    return np.array([6, 1, 1, 1, 1]), np.concatenate([np.zeros((1, 3)), corners])


def ethene() -> tuple[np.ndarray, np.ndarray]:
    carbons = [[0, 0, 0.665], [0, 0, -0.665]]
    hydrogens = [[0, y, z] for z in (1.235, -1.235) for y in (0.923, -0.923)]
    return np.array([6, 6, 1, 1, 1, 1]), np.array(carbons + hydrogens)


def carbon_dioxide() -> tuple[np.ndarray, np.ndarray]:
    return np.array([6, 8, 8]), np.array([[0, 0, 0], [0, 0, 1.162], [0, 0, -1.162]], dtype=float)


def hydrogen_cyanide() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 6, 7]), np.array([[0, 0, -1.066], [0, 0, 0], [0, 0, 1.153]])


def benzene() -> tuple[np.ndarray, np.ndarray]:
    return np.array([6] * 6 + [1] * 6), np.concatenate([ring(6, 1.396), ring(6, 2.483)])


def pyridine() -> tuple[np.ndarray, np.ndarray]:
    return np.array([7] + [6] * 5 + [1] * 5), np.concatenate([ring(6, 1.39), ring(6, 2.475)[1:]])


def formamide() -> tuple[np.ndarray, np.ndarray]:
    return np.array([6, 8, 7, 1, 1, 1]), np.array(
        [
            [0.0, 0.418, 0.0],
            [1.193, 0.239, 0.0],
            [-0.938, -0.565, 0.0],
            [-0.432, 1.436, 0.0],
            [-0.648, -1.533, 0.0],
            [-1.920, -0.340, 0.0],
        ]
    )


def ammonia_oxide() -> tuple[np.ndarray, np.ndarray]:
    """H3N+-O-: four bonds at nitrogen."""
    hydrogens = [[0.95 * np.cos(a), 0.95 * np.sin(a), -0.35] for a in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    return np.array([7, 8, 1, 1, 1]), np.array([[0, 0, 0], [0, 0, 1.36], *hydrogens])


def assigned(numbers: np.ndarray, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orders and charges of a molecule that has them."""
    found = bonds.assign(numbers, coordinates)
    assert found is not None
    return found


def multiple(orders: np.ndarray) -> list[int]:
    return sorted(int(order) for order in orders[np.triu_indices(len(orders), 1)] if order > 1)


@pytest.mark.parametrize(
    ("molecule", "bond_count", "multiple_bonds"),
    [
        (methane, 4, []),
        (ethene, 5, [2]),
        (carbon_dioxide, 2, [2, 2]),
        (hydrogen_cyanide, 2, [3]),
        (benzene, 12, [2, 2, 2]),
        (pyridine, 11, [2, 2, 2]),
        (formamide, 5, [2]),
    ],
)
def test_textbook_molecules(
    molecule: Callable[[], tuple[np.ndarray, np.ndarray]], bond_count: int, multiple_bonds: list[int]
) -> None:
    numbers, coordinates = molecule()
    orders, charges = assigned(numbers, coordinates)
    assert np.count_nonzero(np.triu(orders)) == bond_count
    assert multiple(orders) == multiple_bonds
    assert not charges.any()
    assert bonds.has_valences(numbers, orders).all()
    assert (orders == orders.T).all()


def test_formamide_has_its_double_bond_at_oxygen() -> None:
    orders, _ = assigned(*formamide())
    assert orders[0, 1] == 2
    assert orders[0, 2] == 1


def test_kekule_orders_alternate_around_a_benzene_ring() -> None:
    orders, _ = assigned(*benzene())
    around = [int(orders[i, (i + 1) % 6]) for i in range(6)]
    assert around in ([1, 2, 1, 2, 1, 2], [2, 1, 2, 1, 2, 1])


def test_length_table_alone_does_not_see_benzenes_double_bonds() -> None:
    numbers, coordinates = benzene()
    assert not bonds.has_valences(numbers, bonds.orders_by_length(numbers, coordinates)).all()


def test_zwitterion_gets_its_charges() -> None:
    orders, charges = assigned(*ammonia_oxide())
    assert charges.tolist() == [1, -1, 0, 0, 0]
    assert orders.sum() == 8


def test_radical_and_foreign_element_have_no_assignment() -> None:
    numbers, coordinates = methane()
    assert bonds.assign(numbers[:-1], coordinates[:-1]) is None
    assert bonds.assign(np.array([14, 1, 1, 1, 1]), coordinates) is None


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(12)), st.sampled_from([benzene, pyridine]))
def test_order_of_atoms_does_not_matter(
    permutation: list[int], molecule: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> None:
    numbers, coordinates = molecule()
    order = np.array([i for i in permutation if i < len(numbers)])
    orders, _ = assigned(numbers[order], coordinates[order])
    assert bonds.has_valences(numbers[order], orders).all()
    assert multiple(orders) == [2, 2, 2]


def test_batched_orders_equal_single_ones() -> None:
    numbers, coordinates = formamide()
    batch = bonds.orders_by_length(np.stack([numbers] * 3), np.stack([coordinates] * 3))
    assert (batch == bonds.orders_by_length(numbers, coordinates)).all()
