"""Molecules put together from building blocks: rings, what links them, and what sits at their ends (``blocks.yaml``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from rdkit import Chem
from rdkit.rdBase import BlockLogs

BLOCKS: Final = Path(__file__).with_name("blocks.yaml")
TRIES: Final = 40  # before a wish counts as one that cannot be met
RING_SHARE: Final = 0.45  # of additions while there is room for another ring
LEAST_RING: Final = 5  # heavy atoms of the smallest ring
# Pairs other than with carbon that a new bond may join; a sulfur atom bonded to nitrogen must be a sulfonyl's.
HETERO_BONDS: Final = frozenset(
    frozenset(pair.split("-"))
    for pair in ("B-N", "B-O", "B-F", "Si-O", "Si-N", "Si-F", "Si-Cl", "P-N", "P-O", "P-F", "P-Cl", "S-N")
)


@dataclass(frozen=True)
class Blocks:
    """Building blocks of one kind with the chance that each is drawn."""

    molecules: Sequence[Chem.Mol | None]  # None stands for a bond
    shares: np.ndarray  # (blocks,)

    def draw(self, random: np.random.Generator) -> Chem.Mol | None:
        """One block, or None for a bond."""
        return self.molecules[int(random.choice(len(self.molecules), p=self.shares))]

    def draw_molecule(self, random: np.random.Generator) -> Chem.Mol:
        """One block that is not a bond."""
        while (found := self.draw(random)) is None:
            pass
        return found


@cache
def blocks() -> Mapping[str, Blocks]:
    """Building blocks by kind: cores, linkers, ends."""
    raw: dict[str, dict[str, Any]] = yaml.safe_load(BLOCKS.read_text())
    found = {}
    for kind, table in raw.items():
        rows = [value if isinstance(value, list) else [value, 1] for value in table.values()]
        weights = np.array([weight for _, weight in rows], dtype=np.float64)
        found[kind] = Blocks([Chem.MolFromSmiles(text) if text else None for text, _ in rows], weights / weights.sum())
    return found


def assemble(random: np.random.Generator, sizes: tuple[int, int], element: str | None = None) -> Chem.Mol | None:
    """A closed-shell neutral molecule, or None if none came out of a number of tries.

    Args:
        random: what decides.
        sizes: fewest and most heavy atoms.
        element: symbol of an element that must be there.
    """
    for _ in range(TRIES):
        target = int(random.integers(sizes[0], sizes[1] + 1))
        mol = finished(_grown(random, target))
        if mol is None or not sizes[0] <= mol.GetNumHeavyAtoms() <= sizes[1]:
            continue
        if element is None or any(atom.GetSymbol() == element for atom in mol.GetAtoms()):
            return mol
    return None


def _grown(random: np.random.Generator, target: int) -> Chem.Mol:
    """A core to which rings and ends are added until it has about ``target`` heavy atoms; places are still open."""
    kinds = blocks()
    mol = kinds["cores"].draw_molecule(random)
    while size(mol) < target and places(mol):
        room = target - size(mol)
        if room >= LEAST_RING and random.random() < RING_SHARE:
            linker, ring = kinds["linkers"].draw(random), kinds["cores"].draw_molecule(random)
            part = ring if linker is None else join(linker, ring, random)
        else:
            part = kinds["ends"].draw_molecule(random)
        if part is None or size(part) > room:
            part = kinds["ends"].draw_molecule(random)
        joined = None if size(part) > room + 1 else join(mol, part, random)
        mol = mol if joined is None else joined
        if joined is None and random.random() < 0.2:
            break
    return mol


def size(mol: Chem.Mol) -> int:
    """Heavy atoms, places not counted."""
    return sum(atom.GetAtomicNum() > 1 for atom in mol.GetAtoms())


def places(mol: Chem.Mol) -> list[int]:
    """Indices of the dummy atoms at which something may be attached."""
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]


def join(first: Chem.Mol, second: Chem.Mol, random: np.random.Generator) -> Chem.Mol | None:
    """A single bond between a random place of each; None if the rules forbid that bond."""
    one, other = int(random.choice(places(first))), int(random.choice(places(second)))
    left, right = first.GetAtomWithIdx(one).GetNeighbors()[0], second.GetAtomWithIdx(other).GetNeighbors()[0]
    if not _may_bond(left, right):
        return None
    shift = first.GetNumAtoms()
    editable = Chem.RWMol(Chem.CombineMols(first, second))
    editable.AddBond(left.GetIdx(), right.GetIdx() + shift, Chem.BondType.SINGLE)
    for dummy in sorted((one, other + shift), reverse=True):
        editable.RemoveAtom(dummy)
    return editable.GetMol()


def _may_bond(left: Chem.Atom, right: Chem.Atom) -> bool:
    symbols = frozenset((left.GetSymbol(), right.GetSymbol()))
    if "C" in symbols:
        return True
    if symbols == {"S", "N"}:
        sulfur = left if left.GetSymbol() == "S" else right
        return int(sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in sulfur.GetBonds())) == 2
    return symbols in HETERO_BONDS


def finished(mol: Chem.Mol) -> Chem.Mol | None:
    """Hydrogens at the open places; None if the result is not a closed-shell neutral molecule."""
    editable = Chem.RWMol(mol)
    for place in places(editable):
        editable.GetAtomWithIdx(place).SetAtomicNum(1)
    return checked(editable)


def checked(editable: Chem.RWMol) -> Chem.Mol | None:
    """A sanitised molecule with implicit hydrogens, or None if it has unpaired electrons, a charge, or wrong valences."""
    with BlockLogs():
        try:
            mol = Chem.RemoveHs(editable.GetMol())
            Chem.SanitizeMol(mol)
        except ValueError:
            return None
    if Chem.GetFormalCharge(mol) or any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return None
    return mol
