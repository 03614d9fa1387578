"""Which molecules a campaign's constraints allow, and whether the constraints make sense at all."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core import children
from gapsmith.core.alerts import chosen
from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.alerting import alert, hazard
from gapsmith.core.chemistry.conversion import packed, unpacked
from gapsmith.core.chemistry.elements import NUMBERS, SYMBOLS
from gapsmith.core.chemistry.identity import Identity
from gapsmith.core.chemistry.sa_score import sa_score
from gapsmith.core.chemistry.substructure import (
    ONE_S,
    compared,
    compile_smarts,
    possible_elements,
    subject,
    whole_elements,
)
from gapsmith.core.errors import InputError
from gapsmith.core.reasons import Reason, ReasonCode

_ALL: Final = frozenset(NUMBERS.values())
_HYDROGEN: Final = frozenset({1})
PROBES: Final = (
    "C1C2CC3CC1CC(C2)C3",
    "C1CCC2C(C1)CCC1C2CCC2CCCC12",
    "c1ccc2cc3ccccc3cc2c1",
)  # a pattern must manage these
_UNREADABLE: Final = Reason(ReasonCode.RELAXATION_FAILED, "unreadable")
MOST_OVERRUNS: Final = 3  # after which patterns count as held without another try
_overruns: Counter[tuple[str, ...]] = Counter()


def matches(mol: Chem.Mol, smarts: str) -> bool:
    """Whether a molecule holds a pattern; hydrogens are implicit unless the pattern has one as an atom ([H], [#1])."""
    held: list[bool] = compared("smarts", smarts, child_held, packed(mol), [smarts])
    return held[0]


def child_held(mol: str, patterns: list[str]) -> list[bool]:
    """Whether a molecule holds each of some patterns."""
    return _held_here(unpacked(mol), patterns)


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


def screen(
    mol: Chem.Mol,
    identity: Identity,
    constraints: Constraints,
    *,
    in_qm9: bool = False,
) -> Reason | None:
    """Why the constraints refuse a molecule, or None if they do not.

    Args:
        mol: sanitised.
        identity: of the molecule.
        constraints: of the campaign.
        in_qm9: whether it is in the training data, which ``constraints.novel`` refuses.
    """
    refused = _refused(mol, constraints, lambda: identity.sa_score, _held)
    if refused is None and constraints.novel and in_qm9:
        return _plain(ReasonCode.KNOWN)
    return refused


def child_screened(inchis: list[str], constraints: dict[str, Any], seconds: float) -> list[str | None]:
    """Why constraints refuse molecules, a text or None each, one after another until time is up; novelty is not asked."""
    limits, until = Constraints.model_validate(constraints), time.monotonic() + seconds
    found: list[str | None] = []
    for inchi in inchis:
        if found and time.monotonic() > until:
            break
        with BlockLogs():
            mol = Chem.MolFromInchi(inchi)  # type: ignore[no-untyped-call]
        refused = _UNREADABLE if mol is None else _refused(mol, limits, partial(sa_score, mol), _held_here)
        found.append(None if refused is None else refused.text)
    return found


def _refused(
    mol: Chem.Mol,
    constraints: Constraints,
    sa: Callable[[], float],
    held_by: Callable[[Chem.Mol, Sequence[str]], list[bool] | None],
) -> Reason | None:
    if constraints.hazards == "refuse" and (name := hazard(mol)) is not None:
        return Reason(ReasonCode.HAZARD, f"hazard: {name}")
    elements, sizes = constraints.elements, constraints.heavy_atoms
    if elements is not None and {atom.GetSymbol() for atom in mol.GetAtoms()} - {"H", *elements}:
        return _plain(ReasonCode.ELEMENTS)
    if sizes is not None and not sizes[0] <= mol.GetNumHeavyAtoms() <= sizes[1]:
        return _plain(ReasonCode.HEAVY_ATOMS)
    if (name := alert(mol, chosen(constraints.alerts))) is not None:
        return Reason(ReasonCode.ALERT, f"alert: {name}")
    forbidden, required = constraints.forbidden_smarts, constraints.required_smarts
    if (held := held_by(mol, (*forbidden, *required))) is None or any(held[: len(forbidden)]):
        return _plain(ReasonCode.FORBIDDEN_SMARTS if forbidden else ReasonCode.REQUIRED_SMARTS)
    if not all(held[len(forbidden) :]):
        return _plain(ReasonCode.REQUIRED_SMARTS)
    return _plain(ReasonCode.SA_SCORE) if sa() > constraints.sa_score else None


def _plain(code: ReasonCode) -> Reason:
    return Reason(code, code)


def _held_here(mol: Chem.Mol, patterns: Sequence[str]) -> list[bool]:
    return [bool(subject(mol, one).HasSubstructMatch(one)) for one in map(compile_smarts, patterns)]


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


def placeable(constraints: Constraints, elements: Sequence[str]) -> tuple[str, ...]:
    """Of some elements, those that no forbidden pattern refuses wherever they stand; all if none were left."""
    refused = {number for one in constraints.forbidden_smarts for number in whole_elements(compile_smarts(one))}
    return tuple(one for one in elements if NUMBERS[one] not in refused) or tuple(elements)


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
