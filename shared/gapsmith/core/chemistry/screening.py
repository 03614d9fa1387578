"""Which molecules a campaign's constraints allow, and whether the constraints make sense at all."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rdkit import Chem

from gapsmith.core import children
from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.conversion import packed, unpacked
from gapsmith.core.chemistry.elements import NUMBERS, SYMBOLS
from gapsmith.core.chemistry.identity import Identity
from gapsmith.core.chemistry.substructure import (
    ONE_S,
    compared,
    compile_smarts,
    possible_elements,
    subject,
)
from gapsmith.core.errors import InputError
from gapsmith.core.reasons import ReasonCode

_ALL: Final = frozenset(NUMBERS.values())
_HYDROGEN: Final = frozenset({1})
PROBES: Final = (
    "C1C2CC3CC1CC(C2)C3",
    "C1CCC2C(C1)CCC1C2CCC2CCCC12",
    "c1ccc2cc3ccccc3cc2c1",
)  # a pattern must manage these
MOST_OVERRUNS: Final = 3  # after which patterns count as held without another try
_overruns: Counter[tuple[str, ...]] = Counter()


def matches(mol: Chem.Mol, smarts: str) -> bool:
    """Whether a molecule holds a pattern; hydrogens are implicit unless the pattern has one as an atom ([H], [#1])."""
    held: list[bool] = compared("smarts", smarts, child_held, packed(mol), [smarts])
    return held[0]


def child_held(mol: str, patterns: list[str]) -> list[bool]:
    """Whether a molecule holds each of some patterns."""
    whole, compiled = unpacked(mol), map(compile_smarts, patterns)
    return [bool(subject(whole, pattern).HasSubstructMatch(pattern)) for pattern in compiled]


def matching_atoms(mol: Chem.Mol, smarts: str, field: str = "smarts") -> list[int]:
    """Indices in a molecule of the heavy atoms that are in any match of a pattern; raises InputError if it is none."""
    found: list[int] = compared(field, smarts, child_matching_atoms, packed(mol), smarts, field)
    return found


def child_matching_atoms(packed_mol: str, smarts: str, field: str) -> list[int]:
    """The same of a packed molecule."""
    mol, pattern = unpacked(packed_mol), compile_smarts(smarts, field)
    compared_to = subject(mol, pattern)
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    place = dict(zip((a.GetIdx() for a in compared_to.GetAtoms() if a.GetAtomicNum() != 1), heavy, strict=True))
    found = {index for match in compared_to.GetSubstructMatches(pattern) for index in match}
    return sorted(place[index] for index in found if index in place)


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
    forbidden, required = constraints.forbidden_smarts, constraints.required_smarts
    if (held := _held(mol, (*forbidden, *required))) is None or any(held[: len(forbidden)]):
        return ReasonCode.FORBIDDEN_SMARTS if forbidden else ReasonCode.REQUIRED_SMARTS
    if not all(held[len(forbidden) :]):
        return ReasonCode.REQUIRED_SMARTS
    return ReasonCode.KNOWN if constraints.novel and in_qm9 else None


def _held(mol: Chem.Mol, patterns: Sequence[str]) -> list[bool] | None:
    """Whether a molecule holds each pattern; None if that takes too long, at last without another try."""
    if not patterns:
        return []
    if _overruns[key := tuple(patterns)] >= MOST_OVERRUNS:
        return None
    try:
        held: list[bool] = children.call(child_held, packed(mol), patterns, seconds=ONE_S)
    except children.Overrun:
        _overruns[key] += 1
        return None
    return held


def check_pattern(smarts: str, field: str) -> None:
    """Raise InputError if a pattern is none, is too large, or takes too long to be compared with common molecules."""
    compared(field, smarts, child_try, smarts, field)


def child_try(smarts: str, field: str) -> None:
    """Compare a pattern with some molecules of the kind that it will meet."""
    pattern = compile_smarts(smarts, field)
    for smiles in PROBES:
        subject(Chem.MolFromSmiles(smiles), pattern).HasSubstructMatch(pattern)


def check_constraints(constraints: Constraints) -> None:
    """Raise InputError if a SMARTS is wrong, or a required one needs what the other constraints refuse."""
    for field in ("forbidden_smarts", "required_smarts"):
        for smarts in getattr(constraints, field):
            check_pattern(smarts, f"constraints.{field}")
    named = constraints.elements
    allowed = _ALL if named is None else frozenset(NUMBERS[element] for element in named) | _HYDROGEN
    most = None if constraints.heavy_atoms is None else constraints.heavy_atoms[1]
    for smarts in constraints.required_smarts:
        pattern = compile_smarts(smarts, "constraints.required_smarts")
        possible = [possible_elements(atom) for atom in pattern.GetAtoms()]
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
