"""Bonds that break and form, as seen from two geometries."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from sampled import examples

from gapsmith.core.chemistry.geometry import (
    APART,
    BONDED,
    BROKEN,
    CRUSHED,
    FORMED,
    UNBONDED,
    bonded_pairs,
    fault,
    pieces,
    rearranged,
)

ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
GEOMETRY = np.array(
    [[-1.21, -0.24, 0.0], [0.0, 0.56, 0.0], [1.17, -0.25, 0.0], [-2.1, 0.4, 0.0], [-1.23, -0.88, 0.88],
     [-1.23, -0.88, -0.88], [0.02, 1.21, 0.89], [0.02, 1.21, -0.89], [1.94, 0.32, 0.0]]
)  # fmt: skip


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 2**31))
def test_vibrations_rearrange_nothing(seed: int) -> None:
    shaken = GEOMETRY + np.random.default_rng(seed).normal(0, 0.04, GEOMETRY.shape)
    assert rearranged(ETHANOL, GEOMETRY, shaken) is None


def test_a_bond_that_breaks_and_one_that_forms_are_named() -> None:
    moved = GEOMETRY.copy()
    moved[8] = GEOMETRY[0] + [0, 1.1, 0]  # the hydroxyl's hydrogen, to the first carbon
    words = rearranged(ETHANOL, GEOMETRY, moved)
    assert words is not None
    assert "O3-H9 broke" in words
    assert "C1-H9 formed" in words
    assert rearranged(ETHANOL, moved, moved) is None


@pytest.mark.parametrize(
    ("numbers", "coordinates", "words"),
    [
        ([], np.zeros((0, 3)), "no atoms"),
        ([1, 1], [[0, 0, 0]], "must be"),
        ([1, 1], [[0, 0, 0], [0, 0, np.inf]], "not finite"),
        ([1, 1, 8], [[0, 0, 5], [0, 0, 0], [0, 0, 0.2]], r"atoms 2 and 3 \(H and O; the first is 1\) are 0.200"),
    ],
)
def test_what_is_no_geometry(numbers: list[int], coordinates: object, words: str) -> None:
    found = fault(np.array(numbers), np.array(coordinates, dtype=float))
    assert found is not None

    assert re.search(words, found)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.sampled_from(["C", "CCO", "C1CC1", "[Na+]", "c1ccccc1", "O=C=O"]), min_size=1, max_size=5))
def test_pieces_are_those_of_the_bonds(parts: list[str]) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(".".join(parts)))
    bonds = np.array([(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), 1) for bond in mol.GetBonds()], dtype=int)
    count, label = pieces(bonded_pairs(mol.GetNumAtoms(), bonds))
    assert count == len(parts)
    assert sorted(tuple(np.flatnonzero(label == piece)) for piece in range(count)) == sorted(Chem.GetMolFrags(mol))


def test_thresholds_are_in_order() -> None:
    """A bond that has formed is bonded, and one that is gone was bonded: no distance counts as both."""
    assert CRUSHED < FORMED < BONDED < BROKEN < UNBONDED < APART
