"""Molecules as drawings: RDKit's SVG, made once, in a child process."""

import threading
from collections import OrderedDict
from typing import Any, Final

from rdkit import Chem, rdBase
from rdkit.Chem import rdFMCS
from rdkit.Chem.Draw import rdMolDraw2D

from gapsmith.core import children

WIDTH, HEIGHT = 280, 200
COMMON_WITHIN_S: Final = 1  # to find what a molecule has in common with its parent
CHANGED: Final = (0.96, 0.80, 0.42)  # colour of what was redrawn


DRAWN_WITHIN_S: Final = 5.0
EMPTY: Final = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"/>'
MOST_KEPT: Final = 32 << 20  # characters of drawings that are kept
_kept: OrderedDict[tuple[str, str | None], str] = OrderedDict()
_size = 0
_lock = threading.Lock()


def svg(smiles: str, parent: str | None = None) -> str:
    """A drawing on nothing; what a parent does not have is marked. What cannot be drawn is an empty drawing.

    Args:
        smiles: of the molecule.
        parent: SMILES of what it was regrown from.
    """
    global _size
    with _lock:
        if (known := _kept.get(key := (smiles, parent))) is not None:
            _kept.move_to_end(key)
            return known
    try:
        drawing: str = children.call(child_svg, smiles, parent, seconds=DRAWN_WITHIN_S)
    except children.Overrun:
        drawing = EMPTY
    with _lock:
        if key not in _kept:
            _kept[key] = drawing
            _size += len(drawing)
        while _size > MOST_KEPT:
            _size -= len(_kept.popitem(last=False)[1])
    return drawing


def child_svg(smiles: str, parent: str | None) -> str:
    """The same, computed."""
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
