"""The one reader of molecule files: every command takes its molecules from here.

A record that cannot be read is an item with its reason and its line, and the rest goes on; none is dropped.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from gapsmith.core.chemistry.qcschema import read_json
from gapsmith.core.chemistry.records import Record
from gapsmith.core.chemistry.sdf import read_sdf
from gapsmith.core.chemistry.tables import read_lines, read_table
from gapsmith.core.chemistry.text import Lines, opened
from gapsmith.core.chemistry.xyz import read_xyz
from gapsmith.core.errors import InputError

FORMATS: Final = (".smi", ".txt", ".csv", ".tsv", ".sdf", ".sd", ".mol", ".xyz", ".json")
COMPRESSED: Final = ".gz"


@dataclass(frozen=True)
class ReadOptions:
    """What a person says of their file."""

    smiles_column: str | None = None  # of a table, by name or number; None: by its usual names
    name_column: str | None = None  # of a table, or a tag of an SDF
    format: str | None = None  # one of FORMATS; None: by the ending, or by the text if there is none


def read_molecules(source: Path | BinaryIO, options: ReadOptions | None = None) -> Iterator[Record]:
    """Records of a file or a stream of bytes, in order.

    Args:
        source: a path that ends in one of FORMATS, also with .gz; or bytes, whose format shows by what they are.
        options: what the file does not say itself.

    Raises:
        InputError: nothing of it can be read: it does not exist, is empty, is not text, or has an unknown ending; a table
            without a column of SMILES.
    """
    options = options or ReadOptions()
    name = str(source) if isinstance(source, Path) else "standard input"
    ending = options.format or (ending_of(source) if isinstance(source, Path) else None)
    count = 0
    try:
        with opened(source, name) as lines:
            for record in _reader(ending or _sniffed(lines), options)(lines, name):
                count += 1
                yield record
    except InputError as error:
        if count == 0:
            raise
        yield Record(f"{count + 1}", name, error=f"the rest cannot be read: {error}")
    if count == 0:
        raise InputError(f"{name} holds no molecules")


def ending_of(path: Path) -> str:
    """The format of a file by its name; raises InputError if it is none of FORMATS."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [COMPRESSED]:
        suffixes.pop()
    if suffixes[-1:] and suffixes[-1] in FORMATS:
        return suffixes[-1]
    ending = f"the ending {suffixes[-1]!r} is not known" if suffixes else "it has no ending"
    raise InputError(f"{path}: {ending}; known: {', '.join(FORMATS)}, each also with {COMPRESSED}")


def _reader(ending: str, options: ReadOptions) -> Callable[[Lines, str], Iterator[Record]]:
    smiles, names = options.smiles_column, options.name_column
    match ending:
        case ".smi" | ".txt":
            return partial(read_lines, smiles_column=smiles, name_column=names)
        case ".csv" | ".tsv":
            return partial(read_table, smiles_column=smiles, name_column=names)
        case ".sdf" | ".sd" | ".mol":
            return partial(read_sdf, name_tag=names)
        case ".xyz":
            return read_xyz
        case ".json":
            return read_json
        case _:
            raise InputError(f"the format {ending!r} is not known; known: {', '.join(FORMATS)}")


def _sniffed(lines: Lines) -> str:
    """The format of a text that has no name."""
    head = lines.take(6)
    lines.put_back(*head)
    first = next((line.strip() for line in head if line.strip()), "")
    if re.fullmatch(r"\{.*|\[|\[\s*\{.*", first):
        return ".json"
    if first.isdecimal():
        return ".xyz"
    if any(re.search(r"V[23]000\s*$", line) for line in head):
        return ".sdf"
    return ".smi"
