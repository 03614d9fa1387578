"""Molecules as drawings: RDKit's SVG, made once."""

from functools import lru_cache
from typing import Any, Final

from rdkit import Chem, rdBase
from rdkit.Chem import rdFMCS
from rdkit.Chem.Draw import rdMolDraw2D

WIDTH, HEIGHT = 280, 200
COMMON_WITHIN_S: Final = 1  # to find what a molecule has in common with its parent
CHANGED: Final = (0.96, 0.80, 0.42)  # colour of what was redrawn


@lru_cache(maxsize=20_000)
def svg(smiles: str, parent: str | None = None) -> str:
    """A drawing on nothing; what a parent does not have is marked. What cannot be drawn is an empty drawing.

    Args:
        smiles: of the molecule.
        parent: SMILES of what it was regrown from.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.padding = 0.06
    options.maxFontSize = 20
    options.fixedBondLength = 34.0
    options.bondLineWidth = 1.6
    if mol is not None:
        atoms, bonds = changed(mol, parent) if parent else ([], [])
        rdMolDraw2D.PrepareAndDrawMolecule(
            drawer,
            mol,
            highlightAtoms=atoms,
            highlightBonds=bonds,
            highlightAtomColors=dict.fromkeys(atoms, CHANGED),
            highlightBondColors=dict.fromkeys(bonds, CHANGED),
        )
    drawer.FinishDrawing()
    return str(drawer.GetDrawingText())


def changed(mol: Chem.Mol, parent: str) -> tuple[list[int], list[int]]:
    """Atoms and bonds outside the largest common substructure with the parent."""
    with rdBase.BlockLogs():
        other = Chem.MolFromSmiles(parent)
    if other is None:
        return [], []
    common = rdFMCS.FindMCS([mol, other], timeout=COMMON_WITHIN_S, ringMatchesRingOnly=True, completeRingsOnly=True)
    pattern = Chem.MolFromSmarts(common.smartsString) if common.numAtoms else None
    kept = set(mol.GetSubstructMatch(pattern)) if pattern is not None else set()
    atoms = [index for index in range(mol.GetNumAtoms()) if index not in kept]
    bonds = [bond.GetIdx() for bond in mol.GetBonds() if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} & set(atoms)]
    return atoms, bonds
