"""Molecules as files that people asked for: whether a name can be written, and the records of an SDF or XYZ file."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import InputError

if TYPE_CHECKING:
    from gapsmith.core.domain import Molecule

V2000_DECIMALS = 4
AS_THEY_ARE = {float, int, type(None)}  # in text files; most cells are of these
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a formula begins with in a spreadsheet


def check_output(path: Path, endings: Iterable[str]) -> None:
    """Raise InputError if no file of this name can be written: unknown ending, no such folder, no right to write."""
    if path.suffix.lower() not in endings:
        ending = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise InputError(f"output: {path} has {ending}; the ending says the format: {', '.join(endings)}")
    if path.is_dir():
        raise InputError(f"output: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"output: the folder {path.parent} does not exist; make it first: mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"output: the folder {path.parent} cannot be written to; choose another one")


def plain(value: object) -> object:
    """A value as text files have it: booleans in lower case, dates by ISO 8601."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else value


def xyz(molecule: "Molecule", comment: str) -> str:
    """A frame of an XYZ file, in angstrom; line breaks of the comment become spaces."""
    atoms = zip(molecule.numbers.tolist(), molecule.coordinates.tolist(), strict=True)
    rows = [f"{SYMBOLS[number]:2s} {x:15.8f} {y:15.8f} {z:15.8f}" for number, (x, y, z) in atoms]
    return "\n".join([str(len(rows)), " ".join(comment.split()), *rows, ""])


def cells(values: Iterable[object]) -> list[object]:
    """Values of a line of a table: a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    return [
        value if type(value) in AS_THEY_ARE else _harmless(value) if isinstance(value, str) else plain(value)
        for value in values
    ]


def _harmless(text: str) -> str:
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def sdf_record(molecule: "Molecule", name: str, tags: Mapping[str, object], *, decimals: int = V2000_DECIMALS) -> str:
    """One record of an SDF, its closing line included.

    Args:
        molecule: with bonds; written as it is, neither sanitised nor judged.
        name: its first line.
        tags: written in their order, without those that are None.
        decimals: of the coordinates. The old format, V2000, has four and is what every program reads; for more the
            record is V3000.
    """
    from rdkit import Chem  # tables are written without it

    from gapsmith.core.chemistry.conversion import assemble

    mol = assemble(molecule)
    mol.UpdatePropertyCache(strict=False)
    mol.SetProp("_Name", _line(name))
    parameters: Any = Chem.MolWriterParams()
    parameters.kekulize = False
    parameters.forceV3000 = decimals > V2000_DECIMALS
    parameters.precision = decimals
    lines = [Chem.MolToMolBlock(mol, parameters)]
    lines += [f">  <{key}>\n{_line(plain(value))}\n\n" for key, value in tags.items() if value is not None]
    return "".join([*lines, "$$$$\n"])


def _line(value: object) -> str:
    """Text in one line that is not taken for the end of a tag or of a record."""
    text = " ".join(str(value).split())
    return f" {text}" if text.startswith(("$$$$", ">")) else text
