"""Where a molecule holds required patterns, and which of these atoms may take another substituent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.conversion import packed, unpacked
from gapsmith.core.chemistry.substructure import compared, compile_smarts, subject

MOST: Final = 4  # matches of a pattern that are looked at
_PLACE: Final = "place"


@dataclass(frozen=True)
class Part:
    """A match of a pattern."""

    atoms: tuple[int, ...]  # places among the molecule's heavy atoms
    closed: tuple[int, ...]  # those whose hydrogens the pattern needs


def parts(mol: Chem.Mol, patterns: Sequence[str]) -> list[list[Part]]:
    """Of each pattern some matches in a molecule with explicit hydrogens; raises InputError if that takes too long."""
    if not patterns:
        return []
    found = compared("constraints.required_smarts", patterns[0], child_parts, packed(mol), list(patterns))
    return [[Part(tuple(atoms), tuple(closed)) for atoms, closed in matches] for matches in found]


def child_parts(mol: str, patterns: list[str]) -> list[list[tuple[list[int], list[int]]]]:
    """The same of a packed molecule."""
    whole = unpacked(mol)
    heavy = [atom for atom in whole.GetAtoms() if atom.GetAtomicNum() != 1]
    for place, atom in enumerate(heavy):
        atom.SetIntProp(_PLACE, place)
    found = []
    for pattern in map(compile_smarts, patterns):
        matches = sorted(map(sorted, _matches(whole, pattern)))[:MOST]
        closed = [
            [place for place in one if not _may_grow(whole, heavy[place].GetIdx(), pattern, frozenset(one))]
            for one in matches
        ]
        found.append(list(zip(matches, closed, strict=True)))
    return found


def _matches(mol: Chem.Mol, pattern: Chem.Mol) -> set[frozenset[int]]:
    """Places of the heavy atoms in each match."""
    compared_to = subject(mol, pattern)
    atoms = [compared_to.GetAtomWithIdx(index) for index in range(compared_to.GetNumAtoms())]
    return {
        frozenset(atoms[index].GetIntProp(_PLACE) for index in match if atoms[index].HasProp(_PLACE))
        for match in compared_to.GetSubstructMatches(pattern)
    }


def _may_grow(mol: Chem.Mol, index: int, pattern: Chem.Mol, places: frozenset[int]) -> bool:
    """Whether a match stays one with a methyl group instead of a hydrogen; an atom without hydrogens is not asked."""
    editable = Chem.RWMol(mol)
    hydrogens = [one for one in editable.GetAtomWithIdx(index).GetNeighbors() if one.GetAtomicNum() == 1]
    if not hydrogens:
        return True
    hydrogens[0].SetAtomicNum(6)
    hydrogens[0].SetNoImplicit(False)
    try:
        with BlockLogs():
            Chem.SanitizeMol(editable)
    except ValueError:
        return False
    return places in _matches(editable.GetMol(), pattern)
