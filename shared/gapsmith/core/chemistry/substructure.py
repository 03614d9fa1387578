"""Substructures: SMARTS patterns compared with molecules, and keys that tell which molecules a pattern cannot match.

Every comparison runs in a child process that is ended when its time is over (``core.children``), because a few characters can
describe a search that takes longer than anybody waits. Functions whose names begin with ``child_`` run there.

With keys few of a million molecules are looked at. A molecule holds a pattern only if it has all its keys; that it has them
proves nothing. The first part is RDKit's pattern fingerprint. The rest is what that leaves out: counts of atoms by element,
aromaticity and charge, and sizes of cycles.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, Final

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core import children
from gapsmith.core.errors import InputError
from gapsmith.core.patterns import MOST_ATOMS, shown, smarts_fault

PATTERN_BITS: Final = 512
KEY_BITS: Final = 640
ONE_S: Final = 2.0  # for comparing a pattern with one molecule
Kind = tuple[int, bool, int]  # atomic number, aromatic, sign of the formal charge

_CYCLES: Final = {size: Chem.MolFromSmarts(f"*~1{'~*' * (size - 1)}~1") for size in range(3, 10)}
_KINDS: Final = frozenset(
    (number, aromatic, sign)
    for number in range(1, 119)
    for aromatic in (False, True)[: 1 + (number > 1)]
    for sign in (-1, 0, 1)
)
_AROMATIC: Final = (5, 6, 7, 8, 14, 15, 16, 32, 33, 34, 52)  # elements that RDKit finds in aromatic rings
_EXACT: Final = re.compile(r"AtomOr|AtomAnd|AtomNull|Atom(AtomicNum|Type|IsAromatic|IsAliphatic) -?\d+ !?= val")
_LEAF: Final = re.compile(
    r"(AtomAtomicNum|AtomType|AtomFormalCharge|AtomIsAromatic|AtomIsAliphatic) (-?\d+) (=|!=) val"
)


@cache
def _features() -> tuple[tuple[frozenset[Kind], int], ...]:
    """Kinds of atoms, and up to how many of them are told apart."""

    def some(numbers: Iterable[int], *, aromatic: bool | None = None, sign: int | None = None) -> frozenset[Kind]:
        wanted = set(numbers)
        return frozenset(
            kind for kind in _KINDS if kind[0] in wanted and aromatic in (None, kind[1]) and sign in (None, kind[2])
        )

    heavy = range(2, 119)
    others = set(heavy) - {6, 7, 8, 9}
    return (
        (some(heavy, aromatic=True), 6),
        (some([6], aromatic=True), 6),
        (some([7], aromatic=True), 4),
        (some([8], aromatic=True), 1),
        (some([6], aromatic=False), 9),
        (some([7], aromatic=False), 4),
        (some([8], aromatic=False), 4),
        (some([6]), 9),
        (some([7]), 5),
        (some([8]), 5),
        (some([9]), 4),
        (some(others), 1),
        (some(heavy, sign=1), 2),
        (some(heavy, sign=-1), 2),
    )


def molecule_keys(mol: Chem.Mol) -> str:
    """Keys of a sanitised molecule with implicit hydrogens, ``KEY_BITS`` zeros and ones."""
    atoms = [_kind(atom) for atom in mol.GetAtoms()]
    counts = [sum(kind in kinds for kind in atoms) for kinds, _ in _features()]
    return _text(mol, counts, {size for size, cycle in _CYCLES.items() if mol.HasSubstructMatch(cycle)})


def pattern_keys(pattern: Chem.Mol) -> str:
    """Keys that every molecule with this pattern has, ``KEY_BITS`` zeros and ones."""
    possible = [_possible(atom) for atom in pattern.GetAtoms()]
    counts = [sum(kinds <= feature for kinds in possible) for feature, _ in _features()]
    hydrogen = [index for index, kinds in enumerate(possible) if any(kind[0] == 1 for kind in kinds)]
    explicit = any(all(kind[0] == 1 for kind in kinds) for kinds in possible)
    with_rings = Chem.Mol(pattern)
    Chem.FastFindRings(with_rings)
    cycles = {len(ring) for ring in with_rings.GetRingInfo().AtomRings()}
    return _text(_without(pattern, hydrogen) if explicit else pattern, counts, cycles)


def _text(mol: Chem.Mol, counts: list[int], cycles: set[int]) -> str:
    with BlockLogs():
        fingerprint = Chem.PatternFingerprint(mol, fpSize=PATTERN_BITS).ToBitString()
    composition = "".join(
        "1" * min(n, most) + "0" * (most - min(n, most)) for n, (_, most) in zip(counts, _features(), strict=True)
    )
    rings = "".join("1" if size in cycles else "0" for size in _CYCLES)
    return f"{fingerprint}{composition}{rings}".ljust(KEY_BITS, "0")


def _without(pattern: Chem.Mol, atoms: list[int]) -> Chem.Mol:
    """A pattern less some atoms: where hydrogens are atoms, those that may match one are not in the molecule's keys."""
    editable = Chem.RWMol(pattern)
    for index in sorted(atoms, reverse=True):
        editable.RemoveAtom(index)
    rest = editable.GetMol()
    Chem.FastFindRings(rest)
    return rest


def _kind(atom: Chem.Atom) -> Kind:
    charge = atom.GetFormalCharge()
    return atom.GetAtomicNum(), atom.GetIsAromatic(), (charge > 0) - (charge < 0)


def _possible(atom: Chem.Atom) -> frozenset[Kind]:
    """Kinds that a pattern's atom can match, at most."""
    lines = [line for line in atom.DescribeQuery().splitlines() if line.strip()]
    return _evaluate(lines, 0)[0]


def _evaluate(lines: list[str], index: int) -> tuple[frozenset[Kind], int]:
    """Kinds of the query tree at a line, and the line after it; RDKit indents a query's parts by two spaces."""
    text, depth = lines[index].strip(), len(lines[index]) - len(lines[index].lstrip())
    parts, following = [], index + 1
    while following < len(lines) and len(lines[following]) - len(lines[following].lstrip()) > depth:
        part, following = _evaluate(lines, following)
        parts.append(part)
    if leaf := _LEAF.fullmatch(text):
        return _leaf(leaf[1], int(leaf[2]), equal=leaf[3] == "="), following
    if text == "AtomAnd" and parts:
        return frozenset.intersection(*parts), following
    if text == "AtomOr" and parts:
        return frozenset.union(*parts), following
    return _KINDS, following


@cache
def _leaf(query: str, value: int, *, equal: bool) -> frozenset[Kind]:
    """Kinds that a leaf of a query selects, at most."""
    if query == "AtomFormalCharge":
        if value != 0 and not equal:  # kinds do not tell amounts of charge apart
            return _KINDS
        found = frozenset(kind for kind in _KINDS if kind[2] == (value > 0) - (value < 0))
    elif query == "AtomAtomicNum":
        found = frozenset(kind for kind in _KINDS if kind[0] == value)
    elif query == "AtomType":  # those of aromatic atoms have 1000 added
        found = frozenset(kind for kind in _KINDS if kind[0] == value % 1000 and kind[1] == (value >= 1000))
    else:
        wanted = (query == "AtomIsAromatic") == (value != 0)
        found = frozenset(kind for kind in _KINDS if kind[1] == wanted)
    return found if equal else _KINDS - found


def compile_smarts(smarts: str, field: str = "smarts") -> Chem.Mol:
    """A SMARTS pattern; raises InputError naming the field and the pattern if it is none, or too large."""
    if reason := smarts_fault(smarts):
        raise InputError(f"{field}: {shown(smarts)} is not possible as a pattern: {reason}")
    pattern = _compiled(smarts)
    if pattern is None:
        raise InputError(
            f"{field}: {shown(smarts)} is not a SMARTS pattern; for example '[NX3;H2]' is a primary amine, 'C=O' a carbonyl"
        )
    if pattern.GetNumAtoms() > MOST_ATOMS:
        raise InputError(
            f"{field}: {shown(smarts)} has {pattern.GetNumAtoms()} atoms; at most {MOST_ATOMS} are possible"
        )
    return pattern


@lru_cache(maxsize=128)  # of at most 400 characters each
def _compiled(smarts: str) -> Chem.Mol | None:
    options: Any = Chem.SmartsParserParams()
    options.allowCXSMILES = options.parseName = False
    with BlockLogs():
        pattern = Chem.MolFromSmarts(smarts, options)
    return pattern if pattern is not None and pattern.GetNumAtoms() else None


def possible_elements(atom: Chem.Atom) -> frozenset[int]:
    """Atomic numbers that a pattern's atom can match, at most."""
    return frozenset(kind[0] for kind in _possible(atom))


def whole_elements(pattern: Chem.Mol) -> frozenset[int]:
    """Atomic numbers of the elements, hydrogen aside, of which every atom matches a pattern of one atom; none of others."""
    if pattern.GetNumAtoms() != 1:
        return frozenset()
    atom = pattern.GetAtomWithIdx(0)
    if not all(_EXACT.fullmatch(line.strip()) for line in atom.DescribeQuery().splitlines() if line.strip()):
        return frozenset()
    left = {number for number, aromatic, _ in _KINDS - _possible(atom) if not aromatic or number in _AROMATIC}
    return frozenset(number for number, _, _ in _KINDS if number != 1 and number not in left)


def subject(mol: Chem.Mol, pattern: Chem.Mol) -> Chem.Mol:
    """What a pattern is compared with: hydrogens are implicit unless the pattern has one as an atom ([H], [#1])."""
    with BlockLogs():
        return Chem.AddHs(mol) if _explicit(pattern) else Chem.RemoveHs(mol)


def _explicit(pattern: Chem.Mol) -> bool:
    return any(possible_elements(atom) == {1} for atom in pattern.GetAtoms())


class Substructure:
    """A SMARTS pattern to be looked for in many molecules.

    Args:
        smarts: the pattern.
        field: named in errors.

    Raises:
        InputError: it is none, or too large.
    """

    def __init__(self, smarts: str, field: str = "smarts") -> None:
        self._smarts, self._field = smarts, field
        self.keys: str = self._call(child_keys)

    def matches(self, smiles: Sequence[str], *, most: int, least: int, seconds: float) -> list[bool]:
        """Whether molecules hold the pattern, one after another until time is up or enough were found.

        Args:
            smiles: canonical ones.
            most: matches after which the rest is not looked at.
            least: molecules that are looked at however long it takes, so that each call gets somewhere.
            seconds: after which the rest is not looked at.

        Returns:
            Of the first molecules, as many as were looked at.

        Raises:
            InputError: the comparison with one of them takes too long.
        """
        found: list[bool] = self._call(child_matches, list(smiles), most, least, seconds, seconds=seconds + ONE_S)
        return found

    def _call(self, function: Callable[..., Any], *arguments: Any, seconds: float = ONE_S) -> Any:
        return compared(self._field, self._smarts, function, self._smarts, self._field, *arguments, seconds=seconds)


def compared(field: str, smarts: str, function: Callable[..., Any], *arguments: Any, seconds: float = ONE_S) -> Any:
    """What a function of patterns returns in a child; raises InputError that names the pattern if it takes too long."""
    try:
        return children.call(function, *arguments, seconds=seconds)
    except children.Overrun as error:
        raise InputError(
            f"{field}: comparing {shown(smarts)} with one molecule takes too long; write a smaller or more specific pattern"
        ) from error


def child_keys(smarts: str, field: str) -> str:
    """Keys of a pattern."""
    return pattern_keys(compile_smarts(smarts, field))


def child_matches(smarts: str, field: str, smiles: list[str], most: int, least: int, seconds: float) -> list[bool]:
    """Whether molecules hold a pattern, see ``Substructure.matches``."""
    pattern = compile_smarts(smarts, field)
    explicit, until, hits = _explicit(pattern), time.monotonic() + seconds, 0
    found: list[bool] = []
    for one in smiles:
        if hits >= most or (len(found) >= least and time.monotonic() > until):
            break
        mol = _own(one)
        held = mol is not None and (Chem.AddHs(mol) if explicit else mol).HasSubstructMatch(pattern)
        found.append(bool(held))
        hits += held
    return found


# What a pattern may ask about beyond what a canonical SMILES says itself, such as which atoms are aromatic.
_ASKED: Final = (
    Chem.SANITIZE_PROPERTIES
    | Chem.SANITIZE_SYMMRINGS
    | Chem.SANITIZE_FINDRADICALS
    | Chem.SANITIZE_SETCONJUGATION
    | Chem.SANITIZE_SETHYBRIDIZATION
)


def _own(smiles: str) -> Chem.Mol | None:
    """A molecule of a canonical SMILES that RDKit wrote, in half the time; None if it cannot be read again."""
    options: Any = Chem.SmilesParserParams()
    options.sanitize = options.removeHs = False
    mol = Chem.MolFromSmiles(smiles, options)
    try:
        return None if mol is None or Chem.SanitizeMol(mol, _ASKED) else mol
    except Chem.MolSanitizeException:
        return None
