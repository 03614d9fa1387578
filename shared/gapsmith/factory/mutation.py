"""The pool ``mutated``: QM9's molecules after a few random edits of the graph, at most nine heavy atoms of C N O F.

Other methods of inverse design propose what no enumeration has: strained rings, cumulated and conjugated multiple bonds,
chains of heteroatoms. The edits are those of graph-based genetic algorithms (Jensen, Chem. Sci. 10, 3567 (2019)); those
that add unsaturation, which makes gaps small, are the likeliest.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Final, TypeVar

import numpy as np
from rdkit import Chem

from gapsmith.factory.assembly import checked
from gapsmith.factory.exchange import of_qm9
from gapsmith.factory.pools import Draft, drafts

T = TypeVar("T")
CHUNK: Final = 24  # attempts
EDITS: Final = (2, 6)  # of a molecule, inclusive
HEAVY_ATOMS: Final = (4, 9)
VALENCE: Final = {6: 4, 7: 3, 8: 2, 9: 1}
ORDERS: Final = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)


def mutated(random: np.random.Generator) -> Chem.Mol | None:
    """A molecule of QM9 after some edits; None if the result is not a neutral closed-shell molecule of this size."""
    mol = of_qm9(random)
    if mol is None or any(atom.GetFormalCharge() or atom.GetAtomicNum() not in VALENCE for atom in mol.GetAtoms()):
        return None
    Chem.RemoveStereochemistry(mol)
    editable = Chem.RWMol(mol)
    Chem.Kekulize(editable, clearAromaticFlags=True)
    for atom in editable.GetAtoms():
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    kinds = list(KINDS)
    for _ in range(int(random.integers(EDITS[0], EDITS[1] + 1))):
        kinds[int(random.choice(len(kinds), p=list(KINDS.values())))](editable, random)
        editable.UpdatePropertyCache(strict=False)
    if not HEAVY_ATOMS[0] <= editable.GetNumAtoms() <= HEAVY_ATOMS[1]:
        return None
    return checked(editable)


def _free(atom: Chem.Atom) -> int:
    """Hydrogens that further bonds can take the place of."""
    return VALENCE[atom.GetAtomicNum()] - _bonded(atom)


def _bonded(atom: Chem.Atom) -> int:
    return int(sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds()))


def _any(found: Sequence[T], random: np.random.Generator) -> T | None:
    return found[int(random.integers(len(found)))] if found else None


def _another_element(mol: Chem.RWMol, random: np.random.Generator) -> None:
    atom = mol.GetAtomWithIdx(int(random.integers(mol.GetNumAtoms())))
    fitting = [number for number, most in VALENCE.items() if most >= _bonded(atom) and number != atom.GetAtomicNum()]
    if number := _any(fitting, random):
        atom.SetAtomicNum(number)


def _higher_order(mol: Chem.RWMol, random: np.random.Generator) -> None:
    bonds = [
        bond
        for bond in mol.GetBonds()
        if bond.GetBondType() != ORDERS[-1] and _free(bond.GetBeginAtom()) and _free(bond.GetEndAtom())
    ]
    if bond := _any(bonds, random):
        bond.SetBondType(ORDERS[ORDERS.index(bond.GetBondType()) + 1])


def _lower_order(mol: Chem.RWMol, random: np.random.Generator) -> None:
    if bond := _any([bond for bond in mol.GetBonds() if bond.GetBondType() != ORDERS[0]], random):
        bond.SetBondType(ORDERS[ORDERS.index(bond.GetBondType()) - 1])


def _close_ring(mol: Chem.RWMol, random: np.random.Generator) -> None:
    free = [atom.GetIdx() for atom in mol.GetAtoms() if _free(atom)]
    pairs = [(one, other) for one in free for other in free if one < other and not mol.GetBondBetweenAtoms(one, other)]
    if pair := _any(pairs, random):
        mol.AddBond(*pair, ORDERS[0])


def _open_ring(mol: Chem.RWMol, random: np.random.Generator) -> None:
    Chem.FastFindRings(mol)
    if bond := _any([bond for bond in mol.GetBonds() if bond.IsInRing()], random):
        mol.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())


def _add_atom(mol: Chem.RWMol, random: np.random.Generator) -> None:
    place = _any([atom.GetIdx() for atom in mol.GetAtoms() if _free(atom)], random)
    if place is not None:
        number = int(random.choice((6, 7, 8, 9), p=(0.45, 0.25, 0.2, 0.1)))
        mol.AddBond(place, mol.AddAtom(Chem.Atom(number)), ORDERS[0])


def _remove_atom(mol: Chem.RWMol, random: np.random.Generator) -> None:
    ends = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetDegree() == 1]
    if (end := _any(ends, random)) is not None:
        mol.RemoveAtom(end)


KINDS: Final = {
    _another_element: 0.3,
    _higher_order: 0.3,
    _lower_order: 0.05,
    _close_ring: 0.1,
    _open_ring: 0.05,
    _add_atom: 0.1,
    _remove_atom: 0.1,
}


class MutatedPool:
    """Random edits of QM9's molecules; the pool does not end."""

    novel = True

    def chunk(self, number: int, seed: int) -> Iterable[Draft]:
        """Edit some molecules."""
        random = np.random.default_rng([seed, number])
        return drafts(mutated(random) for _ in range(CHUNK))

    def provenance(self) -> Mapping[str, str]:
        """Versions of what decides which molecules come out."""
        return {name: version(name) for name in ("gapsmith", "rdkit", "qm9pack")}
