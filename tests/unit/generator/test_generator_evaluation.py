"""The measures of generated molecules, on molecules whose answers are known."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.data import qm9
from gapsmith.generator.evaluation import real
from gapsmith.generator.evaluation.judging import judge
from gapsmith.generator.evaluation.quality import evaluate


def make(numbers: list[int], coordinates: ArrayLike, bonds: ArrayLike, charges: list[int] | None = None) -> Molecule:
    return Molecule(
        np.array(numbers, dtype=np.uint8),
        np.array(coordinates, dtype=np.float64),
        np.array(charges or [0] * len(numbers), dtype=np.int8),
        np.array(bonds, dtype=np.int16).reshape(-1, 3),
    )


def water(shift: float = 0.0) -> Molecule:
    return make([8, 1, 1], [[shift, 0, 0], [shift + 0.96, 0, 0], [shift - 0.24, 0.93, 0]], [[0, 1, 1], [0, 2, 1]])


def tetrahedron(number: int, length: float, hydrogens: int = 4, charge: int = 0) -> Molecule:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[:hydrogens] * length / 3**0.5
    bonds = [[0, i + 1, 1] for i in range(hydrogens)]
    return make([number] + [1] * hydrogens, [[0, 0, 0], *corners], bonds, [charge] + [0] * hydrogens)


def methane() -> Molecule:
    return tetrahedron(6, 1.09)


def ammonium() -> Molecule:
    return tetrahedron(7, 1.02, charge=1)


def methyl() -> Molecule:
    return tetrahedron(6, 1.09, hydrogens=3)


def benzene() -> Molecule:
    angle = 2 * np.pi * np.arange(6) / 6
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(6)], axis=1)
    bonds = [[i, (i + 1) % 6, 1 + i % 2] for i in range(6)] + [[i, i + 6, 1] for i in range(6)]
    return make([6] * 6 + [1] * 6, [*(1.396 * ring), *(2.483 * ring)], bonds)


def two_waters() -> Molecule:
    one, other = water(), water(6.0)
    return make(
        [*one.numbers, *other.numbers],
        [*one.coordinates, *other.coordinates],
        [*one.bonds.tolist(), *(other.bonds + np.array([3, 3, 0])).tolist()],
    )


def relaxed(smiles: str) -> Molecule:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=3) == 0
    AllChem.MMFFOptimizeMolecule(mol)
    return from_rdkit(mol)


@pytest.mark.parametrize(
    ("molecule", "stable_atoms", "reason", "one_piece"),
    [
        (water, 3, None, True),
        (methane, 5, None, True),
        (benzene, 6, None, True),  # the table takes 1.396 angstrom between carbons for a single bond
        (ammonium, 4, "charge", True),  # four bonds at nitrogen are one too many for the table
        (methyl, 3, "radical", True),
        (two_waters, 6, "fragments", False),
    ],
)
def test_known_molecules(
    molecule: Callable[[], Molecule], stable_atoms: int, reason: str | None, one_piece: bool
) -> None:
    judged = judge(molecule())
    assert judged.stable.sum() == stable_atoms
    assert judged.reason == reason
    assert judged.valid == (reason is None)
    assert judged.connected == one_piece
    assert judged.bonds_agree


def test_a_broken_bond_is_seen_by_distances_alone() -> None:
    molecule = relaxed("CC")
    hydrogens = [b if a == 1 else a for a, b, _ in molecule.bonds.tolist() if 1 in (a, b) and 0 not in (a, b)]
    moved = molecule.coordinates.copy()
    moved[[1, *hydrogens]] += 2 * (moved[1] - moved[0])
    judged = judge(Molecule(molecule.numbers, moved, molecule.charges, molecule.bonds))
    assert judged.valid
    assert not judged.connected
    assert not judged.bonds_agree
    assert judged.stable.sum() == 6  # the hydrogens


def test_unknown_bonds_are_not_valid_but_stability_needs_none() -> None:
    bare = methane()
    judged = judge(Molecule(bare.numbers, bare.coordinates, bare.charges, np.zeros((0, 3), np.int16)))
    assert judged.reason == "bonds"
    assert judged.stable.all()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda: tetrahedron(14, 1.48), "element"),
        (lambda: make([], np.zeros((0, 3)), []), "empty"),
        (lambda: make([6], [[np.nan, 0, 0]], []), "geometry"),
    ],
)
def test_what_cannot_be_judged_says_why(broken: Callable[[], Molecule], reason: str | None) -> None:
    with pytest.raises(InvalidMolecule) as refusal:
        judge(broken())
    assert refusal.value.reason == reason


def test_shares_of_a_hand_made_set() -> None:
    molecules = [methane(), methane(), water(), benzene(), ammonium(), two_waters(), tetrahedron(14, 1.48)]
    quality = evaluate(molecules, 10, Counter({"geometry": 3}))
    assert quality.valid == 0.4
    assert quality.unique == 0.75
    assert quality.valid_and_unique == 0.3
    assert quality.novel == 0.0
    assert (
        quality.molecule_stability == 0.4
    )  # methane twice, water, and both waters, which EDM's table takes for stable
    assert quality.connected == 0.5
    # 29 of 36 atoms are stable; the four other attempts count as six unstable atoms each, the mean of the others
    assert quality.atom_stability == round(29 / 36 * 6 / 10, 4)
    assert quality.refused == {"geometry": 3, "charge": 1, "fragments": 1, "element": 1}


def test_nothing_at_all_is_all_zero() -> None:
    quality = evaluate([], 5, Counter({"valence": 5}))
    assert (quality.valid, quality.unique, quality.novel, quality.atom_stability, quality.connected) == (0,) * 5


def test_more_molecules_than_attempts_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit in 2 attempts"):
        evaluate([water(), methane()], 2, Counter({"valence": 1}))


def test_mirror_images_are_one_molecule() -> None:
    one = relaxed("C[C@H](O)F")
    mirrored = Molecule(one.numbers, one.coordinates * [1, 1, -1], one.charges, one.bonds)
    assert evaluate([one, mirrored], 2).unique == 0.5


def test_novelty_by_own_bonds_or_by_distances() -> None:
    assert evaluate([relaxed("CCCCCCCCCCCO")], 1).novel == 1.0
    assert evaluate([relaxed("CCCCO"), benzene()], 2).novel == 0.0
    # a zwitterion that no bond list of QM9 has, at the geometry of a molecule that it has
    known = relaxed("CC(=O)C")
    orders = known.bonds.copy()
    double = np.flatnonzero(orders[:, 2] == 2)[0]
    orders[double, 2] = 1
    charges = known.charges.copy()
    left, right = orders[double, :2]
    carbon, oxygen = (left, right) if known.numbers[left] == 6 else (right, left)
    charges[carbon], charges[oxygen] = 1, -1
    odd = judge(Molecule(known.numbers, known.coordinates, charges, orders))
    assert odd.valid
    assert odd.known


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(12)), st.integers(0, 10_000))
def test_order_and_orientation_do_not_matter(permutation: list[int], seed: int) -> None:
    molecule = benzene()
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    order = np.array(permutation)
    place = np.argsort(order)
    bonds = molecule.bonds.copy()
    bonds[:, :2] = place[bonds[:, :2]]
    turned = Molecule(molecule.numbers[order], (molecule.coordinates @ rotation)[order], molecule.charges[order], bonds)
    before, after = judge(molecule), judge(turned)
    assert before.inchikey == after.inchikey
    assert (before.stable[order] == after.stable).all()
    assert after.connected


@pytest.mark.slow
def test_the_row_of_real_molecules() -> None:
    molecules = real.molecules(250, 1)
    quality = evaluate(molecules, len(molecules))
    assert 0.988 < quality.atom_stability < 0.998
    assert 0.92 < quality.molecule_stability < 0.985
    assert quality.valid >= 0.99
    assert quality.unique >= 0.99
    assert quality.novel <= 0.01
    assert quality.connected == 1.0


def test_real_molecules_are_of_the_part_that_is_nobodys() -> None:
    halves = real.split()
    assert sum(len(part) for part in halves.values()) == len(real.data())
    drawn = real.molecules(3, 5)
    wanted = np.random.default_rng(5).permutation(halves["validation"])[:3]
    for molecule, index in zip(drawn, wanted, strict=True):
        assert (molecule.numbers == qm9.load().numbers[real.data().atoms(int(index))]).all()
