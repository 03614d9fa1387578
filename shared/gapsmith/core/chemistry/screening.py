"""Which molecules a campaign's constraints allow, and whether the constraints make sense at all."""

import re
from functools import lru_cache
from typing import Final

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.elements import NUMBERS, SYMBOLS
from gapsmith.core.chemistry.identity import Identity
from gapsmith.core.errors import InputError
from gapsmith.core.reasons import ReasonCode

_ALL: Final = frozenset(NUMBERS.values())
_HYDROGEN: Final = frozenset({1})


@lru_cache(maxsize=1024)
def compile_smarts(smarts: str, field: str = "smarts") -> Chem.Mol:
    """A SMARTS pattern; raises InputError naming the field and the pattern if it is none."""
    with BlockLogs():
        pattern = Chem.MolFromSmarts(smarts)
    if pattern is None or pattern.GetNumAtoms() == 0:
        raise InputError(
            f"{field}: {smarts!r} is not a SMARTS pattern; for example '[NX3;H2]' is a primary amine, 'C=O' a carbonyl"
        )
    return pattern


def matches(mol: Chem.Mol, smarts: str) -> bool:
    """Whether a molecule holds a pattern; hydrogens are implicit unless the pattern has one as an atom ([H], [#1])."""
    pattern = compile_smarts(smarts)
    return bool(_subject(mol, pattern).HasSubstructMatch(pattern))


def matching_atoms(mol: Chem.Mol, smarts: str, field: str = "smarts") -> list[int]:
    """Indices in a molecule of the heavy atoms that are in any match of a pattern; raises InputError if it is none."""
    pattern = compile_smarts(smarts, field)
    subject = _subject(mol, pattern)
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    place = dict(zip((a.GetIdx() for a in subject.GetAtoms() if a.GetAtomicNum() != 1), heavy, strict=True))
    found = {index for match in subject.GetSubstructMatches(pattern) for index in match}
    return sorted(place[index] for index in found if index in place)


def _subject(mol: Chem.Mol, pattern: Chem.Mol) -> Chem.Mol:
    """What a pattern is compared with: with hydrogens as atoms if the pattern has such."""
    wants_hydrogen = any(_possible_elements(atom) == _HYDROGEN for atom in pattern.GetAtoms())
    with BlockLogs():
        return Chem.AddHs(mol) if wants_hydrogen else Chem.RemoveHs(mol)


def screen(mol: Chem.Mol, identity: Identity, constraints: Constraints, *, in_qm9: bool = False) -> ReasonCode | None:
    """Why the constraints refuse a molecule, or None if they do not.

    Args:
        mol: sanitised.
        identity: of the molecule.
        constraints: of the campaign.
        in_qm9: whether it is in the training data, which ``constraints.novel`` refuses.
    """
    elements, sizes = constraints.elements, constraints.heavy_atoms
    if elements is not None and {atom.GetSymbol() for atom in mol.GetAtoms()} - {"H", *elements}:
        return ReasonCode.ELEMENTS
    if sizes is not None and not sizes[0] <= identity.heavy_atoms <= sizes[1]:
        return ReasonCode.HEAVY_ATOMS
    if identity.sa_score > constraints.sa_score:
        return ReasonCode.SA_SCORE
    if any(matches(mol, smarts) for smarts in constraints.forbidden_smarts):
        return ReasonCode.FORBIDDEN_SMARTS
    if not all(matches(mol, smarts) for smarts in constraints.required_smarts):
        return ReasonCode.REQUIRED_SMARTS
    return ReasonCode.KNOWN if constraints.novel and in_qm9 else None


def check_constraints(constraints: Constraints) -> None:
    """Raise InputError if a SMARTS is wrong, or a required one needs what the other constraints refuse."""
    for smarts in constraints.forbidden_smarts:
        compile_smarts(smarts, "constraints.forbidden_smarts")
    named = constraints.elements
    allowed = _ALL if named is None else frozenset(NUMBERS[element] for element in named) | _HYDROGEN
    most = None if constraints.heavy_atoms is None else constraints.heavy_atoms[1]
    for smarts in constraints.required_smarts:
        pattern = compile_smarts(smarts, "constraints.required_smarts")
        possible = [_possible_elements(atom) for atom in pattern.GetAtoms()]
        for elements in possible:
            if not elements & allowed:
                needed = " or ".join(SYMBOLS[number] for number in sorted(elements)) or "an impossible atom"
                raise InputError(
                    f"constraints.required_smarts: {smarts!r} needs {needed}, but constraints.elements allows only "
                    f"{', '.join(named or ())} (and H): no molecule can have both"
                )
        heavy = sum(1 not in elements for elements in possible)
        if most is not None and heavy > most:
            raise InputError(
                f"constraints.required_smarts: {smarts!r} has {heavy} atoms other than hydrogen, but "
                f"constraints.heavy_atoms allows at most {most}: no molecule can have both"
            )


def _possible_elements(atom: Chem.Atom) -> frozenset[int]:
    """Atomic numbers that a pattern's atom can match, at most: what its query says of elements, all else left open."""
    lines = [line for line in atom.DescribeQuery().splitlines() if line.strip()]
    elements, _ = _evaluate(lines, 0)
    return elements


def _evaluate(lines: list[str], index: int) -> tuple[frozenset[int], int]:
    """Elements of the query tree at a line, and the line after it; RDKit indents a query's parts by two spaces."""
    line = lines[index]
    depth = len(line) - len(line.lstrip())
    parts = []
    following = index + 1
    while following < len(lines) and len(lines[following]) - len(lines[following].lstrip()) > depth:
        part, following = _evaluate(lines, following)
        parts.append(part)
    if leaf := re.fullmatch(r"(?:AtomAtomicNum|AtomType) (\d+) (=|!=) val", line.strip()):
        element = frozenset({int(leaf[1]) % 1000})  # types of aromatic atoms have 1000 added
        return (element if leaf[2] == "=" else _ALL - element), following
    if line.strip() == "AtomAnd" and parts:
        return frozenset.intersection(*parts), following
    if line.strip() == "AtomOr" and parts:
        return frozenset.union(*parts), following
    return _ALL, following
