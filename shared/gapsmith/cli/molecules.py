"""Molecules that a command line names: files, SMILES, and - for standard input."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from gapsmith.core.chemistry.reader import ReadOptions, ending_of, read_molecules
from gapsmith.core.chemistry.records import Record, from_smiles
from gapsmith.core.errors import InputError

STANDARD_INPUT = "-"


def read_options(smiles_column: str | None, name_column: str | None, format: str | None) -> ReadOptions:
    """What ``options.reading`` gives, for the reader."""
    ending = None if format is None else f".{format.lower().removeprefix('.')}"
    return ReadOptions(smiles_column=smiles_column, name_column=name_column, format=ending)


def records(words: Sequence[str], options: ReadOptions) -> Iterator[Record]:
    """Records of all that is named, in order.

    If several things are named, one that cannot be read at all is a record with its reason, and the others go on.

    Args:
        words: each a path, a SMILES, or - for standard input.
        options: how files are read.

    Raises:
        InputError: the only thing that is named cannot be read.
    """
    for word in words:
        source = _source(word)
        if isinstance(source, Record):
            yield source
            continue
        try:
            yield from read_molecules(source, options)
        except InputError as error:
            if len(words) == 1:
                raise
            yield Record(word, word, error=str(error))


def check(words: Sequence[str]) -> None:
    """Raise InputError if nothing of what is named is there."""
    problems = [problem for word in words if (problem := _problem(word)) is not None]
    if len(problems) == len(words):
        raise InputError(problems[0])


def _problem(word: str) -> str | None:
    source = _source(word)
    if isinstance(source, Record):
        return source.error
    return f"{word} does not exist or is not a file" if isinstance(source, Path) and not source.is_file() else None


def _source(word: str) -> "Path | BinaryIO | Record":
    """What a word means; what does not exist is a file if it has a file's ending, and otherwise a SMILES."""
    if word == STANDARD_INPUT:
        return sys.stdin.buffer
    path = Path(word)
    if path.exists() or _has_known_ending(path):
        return path
    record = from_smiles(word, word)
    if record.error is None:
        return record
    return replace(record, error=f"{word}: there is no such file, and as a SMILES: {record.error}")


def _has_known_ending(path: Path) -> bool:
    try:
        return bool(ending_of(path))
    except InputError:
        return False
