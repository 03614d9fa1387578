"""Molecules as RDKit sees them: validity, identity, similarity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdinchi, rdMolDescriptors
from rdkit.rdBase import BlockLogs

from gapsmith.core.codec import check_arrays
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.sa_score import sa_score

FINGERPRINT_BITS: Final = 2048
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_BITS)
_ORDERS: Final = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


@dataclass(frozen=True)
class Identity:
    """Which molecule it is. Stereoisomers are one molecule, and so are tautomers that standard InChI sees as one."""

    inchikey: str  # standard, no stereochemistry
    smiles: str  # canonical, no stereochemistry
    formula: str  # Hill order
    heavy_atoms: int
    sa_score: float  # 1 easy to 10 hard
    fingerprint: bytes  # Morgan, radius 2, 2048 bits


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
    kekulised = Chem.Mol(mol)
    Chem.Kekulize(kekulised, clearAromaticFlags=True)
    atoms = list(kekulised.GetAtoms())
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondTypeAsDouble())) for bond in kekulised.GetBonds()
    ]
    return Molecule(
        np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.uint8),
        np.array(kekulised.GetConformer().GetPositions(), dtype=np.float64),
        np.array([atom.GetFormalCharge() for atom in atoms], dtype=np.int8),
        np.array(bonds, dtype=np.int16).reshape(-1, 3),
    )


def identity(mol: Chem.Mol) -> Identity:
    """Which molecule a sanitised RDKit molecule is, with explicit hydrogens or without.

    Raises:
        InvalidMolecule: InChI has no identifier for it.
    """
    with BlockLogs():
        flat = Chem.RemoveHs(mol)
        Chem.RemoveStereochemistry(flat)
        flat.RemoveAllConformers()  # InChI would read the stereochemistry out of the positions again
        inchikey = rdinchi.MolToInchiKey(flat)
    if not inchikey:
        raise InvalidMolecule("sanitisation", "InChI has no identifier for it")
    return Identity(
        inchikey=inchikey,
        smiles=Chem.MolToSmiles(flat),
        formula=rdMolDescriptors.CalcMolFormula(flat),
        heavy_atoms=flat.GetNumHeavyAtoms(),
        sa_score=sa_score(flat),
        fingerprint=np.packbits(_MORGAN.GetFingerprintAsNumPy(flat)).tobytes(),
    )


def unpack_fingerprints(fingerprints: Sequence[bytes]) -> np.ndarray:
    """Fingerprints as an array for ``tanimoto``, (fingerprints, 256) uint8."""
    return np.frombuffer(b"".join(fingerprints), dtype=np.uint8).reshape(-1, FINGERPRINT_BITS // 8)


def tanimoto(one: bytes, many: np.ndarray) -> np.ndarray:
    """Tanimoto similarity of one fingerprint to each of many; of two empty ones it is 1.

    Args:
        one: 256 bytes.
        many: (fingerprints, 256) uint8, of ``unpack_fingerprints``.

    Returns:
        (fingerprints,) float64 within 0 to 1.
    """
    single = np.frombuffer(one, dtype=np.uint8)
    common = np.bitwise_count(many & single).sum(axis=-1, dtype=np.int64)
    union = np.bitwise_count(many | single).sum(axis=-1, dtype=np.int64)
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)
