"""Candidates as files: SDF with the best geometry, CSV, Parquet, JSON; whole or not at all."""

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, get_args, get_type_hints
from uuid import UUID

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.store.query import COLUMNS, CandidateRow

if TYPE_CHECKING:
    from gapsmith.core.domain import Molecule

Geometries = Callable[[], "Mapping[UUID, Molecule]"]


def check_output(path: Path) -> None:
    """Raise InputError if no file of this name can be written: unknown ending, no such folder."""
    if path.suffix.lower() not in WRITERS:
        ending = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise InputError(f"output: {path} has {ending}; the ending says the format: {', '.join(WRITERS)}")
    if path.is_dir():
        raise InputError(f"output: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"output: the folder {path.parent} does not exist; make it first: mkdir -p {path.parent}")


def write(path: Path, rows: Sequence[CandidateRow], geometries: Geometries) -> None:
    """Write candidates in the format of the file's ending; an existing file is replaced only when the new one is whole.

    Args:
        path: ends in .sdf, .csv, .parquet or .json.
        rows: in their order.
        geometries: gives the molecules by ``conformer_id``; called for SDF only.

    Raises:
        InputError: unknown ending, no such folder.
        UnavailableError: the file cannot be written, for example on a full disk.
    """
    check_output(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        WRITERS[path.suffix.lower()](partial, rows, geometries)
        partial.replace(path)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def write_separated(stream: TextIO, rows: Sequence[CandidateRow], separator: str) -> None:
    """A header and one line per candidate, full precision, empty where there is no value."""
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in asdict(row).values()] for row in rows)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else value


def _write_csv(path: Path, rows: Sequence[CandidateRow], _: Geometries) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        write_separated(stream, rows, ",")


def _write_json(path: Path, rows: Sequence[CandidateRow], _: Geometries) -> None:
    with path.open("w", encoding="utf-8") as stream:
        json.dump([asdict(row) for row in rows], stream, indent=1, default=lambda value: str(_plain(value)))
        stream.write("\n")


def _write_parquet(path: Path, rows: Sequence[CandidateRow], _: Geometries) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), datetime: pa.timestamp("us", tz="UTC")}
    kinds = {name: (get_args(hint) or (hint,))[0] for name, hint in get_type_hints(CandidateRow).items()}
    schema = pa.schema([(name, types.get(kinds[name], pa.string())) for name in COLUMNS])
    records = [
        {name: str(value) if isinstance(value, UUID) else value for name, value in asdict(row).items()} for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path)


def _write_sdf(path: Path, rows: Sequence[CandidateRow], geometries: Geometries) -> None:
    from rdkit import Chem

    from gapsmith.core.chemistry import assemble

    molecules = geometries()
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            mol = assemble(molecules[row.conformer_id])
            mol.UpdatePropertyCache(strict=False)
            mol.SetProp("_Name", row.inchikey)
            stream.write(Chem.MolToMolBlock(mol, kekulize=False))
            for name, value in asdict(row).items():
                if value is not None:
                    stream.write(f">  <{name}>\n{_plain(value)}\n\n")
            stream.write("$$$$\n")


WRITERS: dict[str, Callable[[Path, Sequence[CandidateRow], Geometries], None]] = {
    ".sdf": _write_sdf,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
}
