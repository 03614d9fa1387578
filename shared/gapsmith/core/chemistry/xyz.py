"""Frames of XYZ files: plain, extended (libAtoms), and in the layout of QM9's archive."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from gapsmith.core.chemistry.elements import ISOTOPES, NUMBERS
from gapsmith.core.chemistry.records import (
    CHARGE_KEYS,
    MULTIPLICITY_KEYS,
    UNPAIRED_KEYS,
    Geometry,
    Record,
    whole,
)
from gapsmith.core.chemistry.text import Lines

PLACEHOLDERS: Final = ("X", "Xx", "R", "A", "Q", "Du", "Bq", "Gh", "Lp", "*", "@")
QM9: Final = re.compile(r"gdb\s+\d+\b")
QM9_LINES_AFTER: Final = 3  # frequencies, SMILES, InChI
MOST_ATOMS_READ: Final = 10_000  # of a frame; no method here takes a hundredth of it
SHOWN: Final = 60  # characters of a line in a message
_PAIR: Final = re.compile(r"""(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")
_WORDS: Final = re.compile(r"\b(charge|multiplicity|mult)\s*[: ]\s*([+-]?\d+)\b", re.IGNORECASE)
_CHARGE_AND_MULTIPLICITY: Final = re.compile(r"([+-]?\d)[\s,]+([1-9])(\s+\D.*)?")
_SIGNED: Final = re.compile(r"[+-]\d")
_COUNT: Final = re.compile(r"\s*\d+\s*")
_LABEL: Final = re.compile(r"\d*([A-Za-z]{1,2})(?![A-Za-z])")


def read_xyz(lines: Lines, name: str) -> Iterator[Record]:
    """Frames, one after the other; after a broken one, reading goes on where the next one begins."""
    count = 0
    while lines.peek() is not None:
        first = next(line for line in lines if line.strip())
        count += 1
        record = Record(f"{count}", f"{name} frame {count} (line {lines.number})")
        if not _COUNT.fullmatch(first):
            yield replace(record, error=f"line {lines.number} should be a number of atoms, not {_short(first)!r}")
            _skip(lines)
            continue
        record = _frame(lines, record, int(first))
        if record.error is not None:
            _skip(lines)
        yield record


def _skip(lines: Lines) -> None:
    """Read up to where a frame begins: a count, any line, and a line of an atom."""
    for line in lines:
        if not _COUNT.fullmatch(line):
            continue
        following = lines.take(2)
        lines.put_back(line, *following)
        if len(following) == 2 and _atom_like(following[1]):
            return
        next(lines)


def _atom_like(line: str) -> bool:
    return _atom(line, 0, 1) is not None


def _frame(lines: Lines, record: Record, atoms: int) -> Record:
    comment = next(lines, "").replace("\N{MINUS SIGN}", "-").strip()
    number, record = record.name, replace(record, name=comment or record.name)
    if atoms == 0:
        return replace(record, error="it has no atoms")
    fields = {match[1]: match[2] for match in _WORDS.finditer(comment)}
    fields |= {match[1]: match[2] or match[3] or match[4] or "" for match in _PAIR.finditer(comment)}
    species, position = _columns(fields.get("Properties", ""))
    numbers, rows, notes = [], [], set[str]()
    for index in range(atoms):
        line = next(lines, None)
        if line is None:
            return replace(record, error=f"it ends after {index} of its {atoms} atoms")
        if index >= MOST_ATOMS_READ and len(line.split()) > 3:
            continue
        found = _atom(line, species, position)
        if found is None:
            lines.put_back(line)
            place = f"line {lines.number + 1}, atom {index + 1} of {atoms}"
            return replace(record, error=f"{place} should be an element and x y z, not {_short(line)!r}")
        numbers.append(found[0])
        rows.append(found[1:4])
        notes |= {f"{found[4]} is read as hydrogen"} if found[4] else set()
    if atoms > MOST_ATOMS_READ:
        return replace(record, error=f"{atoms} atoms; at most {MOST_ATOMS_READ} are read")
    geometry = Geometry(np.array(numbers, dtype=np.int64), np.array(rows, dtype=np.float64).reshape(-1, 3))
    record = replace(record, geometry=geometry, notes=tuple(sorted(notes)))
    following = lines.peek()
    if QM9.match(comment) and following is not None and not _COUNT.fullmatch(following):
        return _qm9(lines, record, comment)
    if following is not None and _atom_like(following) and not _COUNT.fullmatch(following):
        return replace(record, geometry=None, error=f"it has more atoms than the {atoms} that its first line says")
    return _with_comment(record, comment, fields, number)


def _columns(properties: str) -> tuple[int, int]:
    """Where an extended XYZ has the element and the first coordinate; ``Properties`` is name:type:columns:..."""
    words = properties.split(":")
    place, found = 0, {}
    for name, count in zip(words[::3], words[2::3], strict=False):
        found[name.lower()] = place
        place += int(count) if count.isdecimal() else 1
    return found.get("species", found.get("z", 0)), found.get("pos", 1)


def _atom(line: str, species: int, position: int) -> tuple[int, float, float, float, str] | None:
    """Atomic number, position and isotope of a line; None if it is none."""
    words = line.split() if len(line.split()) > 3 else line.split(",")
    if len(words) < max(species + 1, position + 3):
        return None
    number = _number(words[species])
    try:
        x, y, z = (_float(word) for word in words[position : position + 3])
    except ValueError:
        return None
    return None if number is None else (number, x, y, z, _isotope(words[species]))


def _float(word: str) -> float:
    """A number as Fortran (1.0D-01) and QM9 (1.2*^-6) write it, too."""
    return float(word.strip(", ").replace("*^", "e").translate(str.maketrans("Dd", "ee")))


def _isotope(word: str) -> str:
    match = _LABEL.match(word)
    return match[1].upper() if match and match[1].upper() in ISOTOPES else ""


def _number(word: str) -> int | None:
    """Atomic number of a symbol, a number or a label such as C1; 0 for a placeholder, None for what is none."""
    word = word.strip(", ")
    if word.isdecimal():
        return int(word) if int(word) < len(NUMBERS) + 1 else None
    match = _LABEL.match(word)
    symbol = match[1].capitalize() if match else word
    if symbol in ISOTOPES:
        return ISOTOPES[symbol]
    if symbol in PLACEHOLDERS or word[0] in "*@":
        return 0
    return NUMBERS.get(symbol)


def _qm9(lines: Lines, record: Record, comment: str) -> Record:
    after = lines.take(QM9_LINES_AFTER)
    smiles = after[1].split() if len(after) > 1 else []
    return replace(record, name=" ".join(comment.split()[:2]), smiles=smiles[-1] if smiles else None)


def _with_comment(record: Record, comment: str, fields: Mapping[str, str], number: str) -> Record:
    """The record with the name, charge and spin of its comment."""
    lower = {key.lower(): value for key, value in fields.items()}
    notes = list(record.notes)
    charge = next((whole(lower[key]) for key in (*CHARGE_KEYS, "q", "chrg") if key in lower), None)
    multiplicity = next((whole(lower[key]) for key in MULTIPLICITY_KEYS if key in lower), None)
    unpaired = next((whole(lower[key]) for key in UNPAIRED_KEYS if key in lower), None)
    name = lower.get("name") or ("" if "Properties" in fields else comment)
    assert record.geometry is not None  # of a frame that could be read
    electrons = int(record.geometry.numbers.sum())
    match = _CHARGE_AND_MULTIPLICITY.fullmatch(comment)
    if match and (not match[3] or match[1][0] in "+-0"):  # what has no sign may belong to the text
        given, spins = int(match[1]), int(match[2]) - 1
        if (electrons - given - spins) % 2 == 0:
            name, charge, multiplicity = (match[3] or "").strip(), given, spins + 1
        else:
            notes.append(f"{comment!r} in its comment does not fit as charge and multiplicity and is not used")
    elif _SIGNED.fullmatch(comment):
        notes.append(f"{comment!r} in its comment is not used; if it is a charge, write charge={comment}")
    if "spin" in lower and multiplicity is None and unpaired is None and (spin := whole(lower["spin"])) is not None:
        # Some programs write the multiplicity there, others the unpaired electrons; only one of them fits the electrons.
        unpaired = spin if (electrons - (charge or 0) - spin) % 2 == 0 else spin - 1
    if multiplicity is not None:
        unpaired = multiplicity - 1
    if charge or unpaired:
        notes.append(f"charge {charge or 0} and multiplicity {(unpaired or 0) + 1} are its comment's")
    if "Lattice" in fields:
        notes.append("its lattice is not used: it is read as one molecule")
    rest = {key: value for key, value in fields.items() if key not in ("Properties", "Lattice")}
    return replace(
        record, name=name or number, charge=charge, spin=unpaired, fields=rest, notes=tuple(notes),
        smiles=lower.get("smiles"),
    )  # fmt: skip


def _short(line: str) -> str:
    return line.strip() if len(line.strip()) <= SHOWN else f"{line.strip()[:SHOWN]}..."
