"""Molecules between arrays and RDKit."""

import base64
from typing import Any, Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.codec import check_arrays
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule

NO_BONDS: Final = np.zeros((0, 3), dtype=np.int16)
_WHOLE: Final = int(Chem.PropertyPickleOptions.AllProps | Chem.PropertyPickleOptions.CoordsAsDouble)
_ORDERS: Final = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def to_rdkit(molecule: Molecule) -> Chem.Mol:
    """A sanitised RDKit molecule with explicit hydrogens and its conformer; closed-shell, neutral, one piece.

    Raises:
        InvalidMolecule: its ``reason`` is empty, element, geometry, bonds, fragments, charge, valence, radical or
            sanitisation.
    """
    check_arrays(molecule)
    mol = assemble(molecule)
    if len(Chem.GetMolFrags(mol)) > 1:
        raise InvalidMolecule("fragments", "the atoms are in more than one piece")
    total = int(np.asarray(molecule.charges, dtype=np.int64).sum())
    if total != 0:
        raise InvalidMolecule("charge", f"formal charges add up to {total:+d}; only neutral molecules are handled")
    try:
        with BlockLogs():
            Chem.SanitizeMol(mol)
    except Chem.AtomValenceException as error:
        raise InvalidMolecule("valence", _first_line(error)) from error
    except ValueError as error:
        raise InvalidMolecule("sanitisation", _first_line(error)) from error
    for atom in mol.GetAtoms():
        if atom.GetNumRadicalElectrons():
            raise InvalidMolecule("radical", f"atom {atom.GetIdx()} ({atom.GetSymbol()}) has an unpaired electron")
    return mol


def assemble(molecule: Molecule) -> Chem.Mol:
    """An RDKit molecule with its conformer, as it is: neither sanitised nor judged."""
    editable = Chem.RWMol()
    conformer = Chem.Conformer(len(molecule))
    rows = zip(molecule.numbers.tolist(), molecule.charges.tolist(), molecule.coordinates.tolist(), strict=True)
    for index, (number, charge, position) in enumerate(rows):
        atom = Chem.Atom(number)
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(True)  # a missing hydrogen is a radical, not an omission
        editable.AddAtom(atom)
        conformer.SetAtomPosition(index, position)
    for first, second, order in np.reshape(molecule.bonds, (-1, 3)).tolist():
        editable.AddBond(first, second, _ORDERS[order])
    mol = editable.GetMol()
    mol.AddConformer(conformer, assignId=True)
    return mol


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def from_rdkit(mol: Chem.Mol) -> Molecule:
    """Arrays of an RDKit molecule with explicit hydrogens and one conformer; raises InvalidMolecule without them."""
    if mol.GetNumAtoms() == 0:
        raise InvalidMolecule("empty", "it has no atoms")
    if mol.GetNumConformers() == 0:
        raise InvalidMolecule("geometry", "it has no conformer")
    if any(atom.GetTotalNumHs() for atom in mol.GetAtoms()):
        raise InvalidMolecule("geometry", "it has hydrogens without positions")
    molecule = arrays(mol)
    if mol.GetNumBonds() > len(molecule.bonds):
        raise InvalidMolecule("bonds", "it has bonds that are neither single nor double nor triple")
    return molecule


def arrays(mol: Chem.Mol) -> Molecule:
    """Arrays of the atoms of an RDKit molecule with a conformer; without bonds where ``bonds_of`` finds none."""
    bonds = bonds_of(mol)
    atoms = list(mol.GetAtoms())
    return Molecule(
        np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.uint8),
        np.array(mol.GetConformer().GetPositions(), dtype=np.float64).reshape(-1, 3),
        np.array([atom.GetFormalCharge() for atom in atoms], dtype=np.int8),
        NO_BONDS if bonds is None else bonds,
    )


def bonds_of(mol: Chem.Mol) -> np.ndarray | None:
    """Bonds of an RDKit molecule, kekulised, (bonds, 3); None where an order is none of 1, 2 and 3, as of most metals."""
    kekulised = Chem.Mol(mol)
    try:
        with BlockLogs():
            kekulised.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(kekulised)
            Chem.Kekulize(kekulised, clearAromaticFlags=True)
    except (ValueError, RuntimeError):  # RDKit's own exceptions are ValueErrors; its invariants RuntimeErrors
        return None
    rows = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble()) for bond in kekulised.GetBonds()]
    if not all(order in (1.0, 2.0, 3.0) for _, _, order in rows):
        return None
    return np.array(rows, dtype=np.int16).reshape(-1, 3)


def packed(mol: Chem.Mol) -> str:
    """A molecule as text, for a child process."""
    return base64.b64encode(mol.ToBinary(_WHOLE)).decode()


def unpacked(text: str) -> Chem.Mol:
    """The molecule of such a text."""
    binary: Any = base64.b64decode(text)
    return Chem.Mol(binary)
