"""Geometries out of bonds: RDKit's distance geometry (ETKDG) and MMFF94, one result for each molecule.

What distance geometry finds depends on the order of the atoms, so they are brought to canonical order first, and of two
mirror images the same one is embedded: one molecule has one geometry however its SMILES is written.
"""

from typing import Any, Final

from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.Geometry import Point3D
from rdkit.rdBase import BlockLogs

from gapsmith.core import children
from gapsmith.core.chemistry.conversion import packed, unpacked
from gapsmith.core.errors import InvalidMolecule

SEED: Final = 7
MMFF_STEPS: Final = 2000
GAP_ANGSTROM: Final = 2.5  # between the boxes of two pieces: in touch, but not bonded
ROUNDS: Final = 5  # of canonical numbering; two do for cages of QM9
TRIES: Final = 20  # of a cage
LONGEST_S: Final = 60  # of one embedding
ALTOGETHER_S: Final = 120.0  # for a molecule, all tries included


def embed(mol: Chem.Mol, *, keep_order: bool = False) -> Chem.Mol:
    """A sanitised molecule with explicit hydrogens and a geometry; pieces are set side by side.

    Args:
        mol: sanitised, with any conformer or none.
        keep_order: number the atoms as in ``mol`` (in one piece), hydrogens that are added last; otherwise canonically.

    Raises:
        InvalidMolecule: distance geometry finds none, or not in time.
    """
    try:
        return unpacked(children.call(child_embed, packed(mol), keep_order, seconds=ALTOGETHER_S))
    except children.Overrun as error:
        raise InvalidMolecule("embedding", f"RDKit finds no geometry for it: {error}; give it in 3D") from error


def child_embed(text: str, keep_order: bool) -> str:
    """The same of a packed molecule, in a child process that ends when the time is over."""
    return packed(_placed(unpacked(text), keep_order=keep_order))


def _placed(mol: Chem.Mol, *, keep_order: bool) -> Chem.Mol:
    with BlockLogs():
        canonical, mirrored = _canonical(mol)
        parts = [_embedded(part) for part in Chem.GetMolFrags(Chem.AddHs(canonical), asMols=True)]
    whole = parts[0]
    for part in parts[1:]:
        right = whole.GetConformer().GetPositions()[:, 0].max() + GAP_ANGSTROM
        shift = right - part.GetConformer().GetPositions()[:, 0].min()
        middle = whole.GetConformer().GetPositions().mean(0) - part.GetConformer().GetPositions().mean(0)
        whole = Chem.CombineMols(whole, part, Point3D(shift, middle[1], middle[2]))
    if mirrored:
        _mirror(whole)
    Chem.SanitizeMol(whole)
    if not keep_order:
        return whole
    wanted = Chem.AddHs(mol)
    found = whole.GetSubstructMatch(wanted, useChirality=True) or whole.GetSubstructMatch(wanted)
    if len(found) != whole.GetNumAtoms():
        raise InvalidMolecule("embedding", "its atoms cannot be told apart after RDKit made a geometry; give it in 3D")
    return Chem.RenumberAtoms(whole, list(found))


def _canonical(mol: Chem.Mol) -> tuple[Chem.Mol, bool]:
    """The molecule, or its mirror image, in canonical order without hydrogens; and whether it is the mirror image."""
    bare = Chem.RemoveHs(mol)
    bare.RemoveAllConformers()
    mirror = Chem.Mol(bare)
    for atom in mirror.GetAtoms():
        atom.InvertChirality()
    one, other = _canonical_smiles(bare), _canonical_smiles(mirror)
    return Chem.MolFromSmiles(min(one, other)), other < one


def _canonical_smiles(mol: Chem.Mol) -> str:
    """A SMILES that reading and writing leaves as it is; RDKit's first one may depend on the order of atoms."""
    smiles = Chem.MolToSmiles(mol)
    for _ in range(ROUNDS):
        again = Chem.MolToSmiles(Chem.MolFromSmiles(smiles))
        if again == smiles:
            break
        smiles = again
    return str(smiles)


def _embedded(part: Chem.Mol) -> Chem.Mol:
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.timeout = LONGEST_S
    if rdDistGeom.EmbedMolecule(part, parameters) < 0 and not _embedded_leniently(part, parameters):
        parameters.useRandomCoords = parameters.enforceChirality = True
        if rdDistGeom.EmbedMolecule(part, parameters) < 0:
            raise InvalidMolecule("embedding", "RDKit finds no geometry for it; give it in 3D")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(part):
        rdForceFieldHelpers.MMFFOptimizeMolecule(part, maxIters=MMFF_STEPS)
    return part


def _embedded_leniently(part: Chem.Mol, parameters: Any) -> bool:
    """Embed without enforcing chirality, whose limits are too narrow for small cages, until it is right by chance."""
    parameters.enforceChirality = False
    wanted = Chem.MolToSmiles(Chem.RemoveHs(part))
    for seed in range(SEED, SEED + TRIES):
        parameters.randomSeed = seed
        if rdDistGeom.EmbedMolecule(part, parameters) < 0:
            continue
        found = Chem.Mol(part)
        Chem.AssignStereochemistryFrom3D(found)
        if Chem.MolToSmiles(Chem.RemoveHs(found)) == wanted:
            return True
    return False


def _mirror(mol: Chem.Mol) -> None:
    """Turn a molecule into its mirror image, in place."""
    conformer = mol.GetConformer()
    for index, (x, y, z) in enumerate(conformer.GetPositions().tolist()):
        conformer.SetAtomPosition(index, (-x, y, z))
    for atom in mol.GetAtoms():
        atom.InvertChirality()
