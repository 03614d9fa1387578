"""QM9's molecules with elements exchanged: O to S, C to Si, N to P, F or H to a halogen, and C=C to B-N."""

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.data import qm9
from gapsmith.factory.assembly import checked

EXCHANGES: Final = (0.5, 0.35, 0.15)  # chance of one, two and three exchanges in a molecule
HALOGENS: Final = (9, 17, 35)

Site = Callable[[Chem.RWMol], None]


@cache
def _identifiers() -> list[str]:
    return qm9.identifiers().read_text().splitlines()


def of_qm9(random: np.random.Generator) -> Chem.Mol | None:
    """A molecule of QM9 without a geometry; None if its InChI is not that of a molecule."""
    lines = _identifiers()
    with BlockLogs():
        mol: Chem.Mol | None = Chem.MolFromInchi(lines[int(random.integers(len(lines)))])  # type: ignore[no-untyped-call]
    return mol


def exchanged(random: np.random.Generator) -> Chem.Mol | None:
    """A molecule of QM9 with one to three exchanges; None if it has no place for one, or the result is not a molecule."""
    mol = of_qm9(random)
    if mol is None:
        return None
    editable = Chem.RWMol(mol)
    Chem.Kekulize(editable, clearAromaticFlags=True)
    changed = False
    for _ in range(1 + int(random.choice(len(EXCHANGES), p=EXCHANGES))):
        kinds = (_to_sulfur, _to_silicon, _to_phosphorus, _to_halogen, _to_boron_nitrogen)
        for kind in random.permutation(len(kinds)):
            if sites := kinds[int(kind)](editable, random):
                sites[int(random.integers(len(sites)))](editable)
                changed = True
                break
    return checked(editable) if changed else None


def _replace(index: int, number: int) -> Site:
    def apply(editable: Chem.RWMol) -> None:
        editable.GetAtomWithIdx(index).SetAtomicNum(number)

    return apply


def _atoms(mol: Chem.RWMol, symbol: str) -> list[Chem.Atom]:
    """Neutral atoms of an element whose neighbours are carbon."""
    return [
        atom
        for atom in mol.GetAtoms()
        if atom.GetSymbol() == symbol
        and atom.GetFormalCharge() == 0
        and all(neighbour.GetSymbol() == "C" for neighbour in atom.GetNeighbors())
    ]


def _to_sulfur(mol: Chem.RWMol, _: np.random.Generator) -> list[Site]:
    return [_replace(atom.GetIdx(), 16) for atom in _atoms(mol, "O")]


def _to_silicon(mol: Chem.RWMol, _: np.random.Generator) -> list[Site]:
    saturated = [
        atom
        for atom in mol.GetAtoms()
        if atom.GetSymbol() == "C"
        and atom.GetFormalCharge() == 0
        and all(bond.GetBondType() == Chem.BondType.SINGLE for bond in atom.GetBonds())
    ]
    return [_replace(atom.GetIdx(), 14) for atom in saturated]


def _to_phosphorus(mol: Chem.RWMol, _: np.random.Generator) -> list[Site]:
    triple = Chem.BondType.TRIPLE
    atoms = [atom for atom in _atoms(mol, "N") if all(bond.GetBondType() != triple for bond in atom.GetBonds())]
    return [_replace(atom.GetIdx(), 15) for atom in atoms]


def _to_halogen(mol: Chem.RWMol, random: np.random.Generator) -> list[Site]:
    number = int(random.choice(HALOGENS))
    sites = [_replace(atom.GetIdx(), number) for atom in _atoms(mol, "F")]

    def add(index: int) -> Site:
        def apply(editable: Chem.RWMol) -> None:
            carbon = editable.GetAtomWithIdx(index)
            carbon.SetNumExplicitHs(max(0, carbon.GetNumExplicitHs() - 1))
            editable.AddBond(index, editable.AddAtom(Chem.Atom(number)), Chem.BondType.SINGLE)

        return apply

    carbons = [atom for atom in mol.GetAtoms() if atom.GetSymbol() == "C" and atom.GetTotalNumHs()]
    return sites + [add(atom.GetIdx()) for atom in carbons]


def _to_boron_nitrogen(mol: Chem.RWMol, random: np.random.Generator) -> list[Site]:
    def apply_to(bond: int) -> Site:
        def apply(editable: Chem.RWMol) -> None:
            found = editable.GetBondWithIdx(bond)
            found.SetBondType(Chem.BondType.SINGLE)
            ends = [found.GetBeginAtom(), found.GetEndAtom()]
            for place, number in zip(random.permutation(2), (5, 7), strict=True):
                ends[int(place)].SetAtomicNum(number)

        return apply

    return [
        apply_to(bond.GetIdx())
        for bond in mol.GetBonds()
        if bond.GetBondType() == Chem.BondType.DOUBLE
        and all(
            atom.GetSymbol() == "C"
            and atom.GetFormalCharge() == 0
            and sum(one.GetBondType() == Chem.BondType.DOUBLE for one in atom.GetBonds()) == 1
            for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        )
    ]
