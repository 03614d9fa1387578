"""Conformers of a molecule: distance geometry (ETKDG), MMFF94s, and which of many geometries are the same.

Two geometries are the same conformer if their energies and, over heavy atoms and the hydrogens on N, O and so on, their
positions agree, whichever way equivalent atoms are numbered; so are two mirror images. Configurations are those of the
geometry that is given.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolAlign
from rdkit.Geometry import Point3D
from rdkit.rdBase import BlockLogs

from gapsmith.core import children
from gapsmith.core.chemistry.conversion import assemble, packed, unpacked
from gapsmith.core.chemistry.embedding import LONGEST_S, MMFF_STEPS, SEED
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule

EMBEDDED: Final = 3  # times the conformers that are wanted
SAME_ANGSTROM: Final = 0.2  # root mean square deviation of one conformer's geometries
SAME_KCAL: Final = 0.1  # kcal/mol
MOST_MATCHES: Final = 1000  # of equivalent numberings that are compared
ALTOGETHER_S: Final = 300.0  # CPU time of an embedding, and of a comparison

Geometry = list[list[float]]  # as JSON takes it


class Distinct(NamedTuple):
    """A geometry that is kept."""

    place: int  # among the geometries given
    images: int  # 2: its mirror image is another conformer of the same energy


def starts(molecule: Molecule, most: int) -> tuple[int, list[np.ndarray]]:
    """How many geometries were embedded, and the lowest of MMFF94s, at most so many, (atoms, 3) in angstrom.

    Raises:
        InvalidMolecule: RDKit does not take the molecule, finds no geometry, or not in time.
    """
    embedded, found = _in_child(child_starts, molecule, most)
    return embedded, [np.array(one) for one in found]


def distinct(molecule: Molecule, geometries: Sequence[np.ndarray], energies_kcal: Sequence[float]) -> list[Distinct]:
    """Which geometries (atoms, 3) are different conformers, the lowest first; raises InvalidMolecule."""
    rows = [np.asarray(one).tolist() for one in geometries]
    return [Distinct(*one) for one in _in_child(child_distinct, molecule, rows, list(map(float, energies_kcal)))]


def _in_child(function: Any, molecule: Molecule, *arguments: Any) -> Any:
    mol = assemble(molecule)
    try:
        with BlockLogs():
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistryFrom3D(mol)
    except ValueError as error:
        raise InvalidMolecule("sanitisation", str(error).splitlines()[0]) from error
    if len(Chem.GetMolFrags(mol)) > 1:
        raise InvalidMolecule("fragments", "the atoms are in more than one piece")
    try:
        return children.call(function, packed(mol), *arguments, seconds=ALTOGETHER_S)
    except children.Overrun as error:
        raise InvalidMolecule("embedding", str(error)) from error


def child_starts(text: str, most: int) -> tuple[int, list[Geometry]]:
    """``starts`` of a packed molecule, in a child process."""
    mol = unpacked(text)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed, parameters.timeout, parameters.useSmallRingTorsions = SEED, LONGEST_S, True
    with BlockLogs():
        for parameters.useRandomCoords in (False, True):
            if embedded := len(rdDistGeom.EmbedMultipleConfs(mol, EMBEDDED * most, parameters)):
                break
        else:
            raise InvalidMolecule("embedding", "RDKit finds no geometry for it")
        energies = [0.0] * embedded
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            relaxed = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, maxIters=MMFF_STEPS, mmffVariant="MMFF94s")
            energies = [energy for _, energy in relaxed]
    geometries = [one.GetPositions().tolist() for one in mol.GetConformers()]
    return embedded, [geometries[index] for index, _ in _distinct(mol, geometries, energies)[:most]]


def child_distinct(text: str, geometries: list[Geometry], energies_kcal: list[float]) -> list[tuple[int, int]]:
    """``distinct`` for a packed molecule, in a child process."""
    return _distinct(unpacked(text), geometries, energies_kcal)


def _distinct(mol: Chem.Mol, geometries: list[Geometry], energies_kcal: list[float]) -> list[tuple[int, int]]:
    compared = _skeleton(mol)
    kept: list[tuple[int, int]] = []
    shapes: dict[int, Chem.Mol] = {}
    for index in np.argsort(energies_kcal, kind="stable").tolist():
        one, mirrored = _shaped(compared, geometries[index]), _shaped(compared, geometries[index], mirror=True)
        near = [shapes[other] for other, _ in kept if energies_kcal[index] - energies_kcal[other] < SAME_KCAL]
        if any(_same(image, other) for other in near for image in (one, mirrored)):
            continue
        shapes[index] = one
        kept.append((index, 1 if _chiral(mol) or _same(mirrored, one) else 2))
    return kept


def _skeleton(mol: Chem.Mol) -> Chem.Mol:
    """The molecule without the hydrogens on carbon; each atom remembers its number."""
    editable = Chem.RWMol(mol)
    for atom in editable.GetAtoms():
        atom.SetIntProp("place", atom.GetIdx())
        atom.SetNoImplicit(True)
    for atom in reversed(list(editable.GetAtoms())):
        if atom.GetAtomicNum() == 1 and all(other.GetAtomicNum() == 6 for other in atom.GetNeighbors()):
            editable.RemoveAtom(atom.GetIdx())
    return editable.GetMol() if editable.GetNumAtoms() else Chem.Mol(mol)


def _shaped(skeleton: Chem.Mol, geometry: Geometry, *, mirror: bool = False) -> Chem.Mol:
    found = Chem.Mol(skeleton)
    found.RemoveAllConformers()
    conformer = Chem.Conformer(found.GetNumAtoms())
    for atom in found.GetAtoms():
        x, y, z = geometry[atom.GetIntProp("place") if atom.HasProp("place") else atom.GetIdx()]
        conformer.SetAtomPosition(atom.GetIdx(), Point3D(-x if mirror else x, y, z))
    found.AddConformer(conformer)
    return found


def _same(one: Chem.Mol, other: Chem.Mol) -> bool:
    return bool(rdMolAlign.GetBestRMS(Chem.Mol(one), other, maxMatches=MOST_MATCHES) < SAME_ANGSTROM)


def _chiral(mol: Chem.Mol) -> bool:
    """Whether the mirror image is another molecule."""
    mirror = Chem.Mol(mol)
    for atom in mirror.GetAtoms():
        atom.InvertChirality()
    return bool(Chem.MolToSmiles(Chem.RemoveHs(mol)) != Chem.MolToSmiles(Chem.RemoveHs(mirror)))
