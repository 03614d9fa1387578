"""Candidates as files: SDF with the best geometry, CSV, Parquet, JSON; whole or not at all."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, get_args, get_type_hints
from uuid import UUID

from gapsmith.core import output
from gapsmith.core.errors import UnavailableError
from gapsmith.core.output import plain
from gapsmith.store.query import COLUMNS, CandidateRow
from gapsmith.training.files import replacing

if TYPE_CHECKING:
    from gapsmith.core.domain import Molecule

Geometries = Callable[[], "Mapping[UUID, Molecule]"]


def check_output(path: Path) -> None:
    """Raise InputError if no file of this name can be written."""
    output.check_output(path, WRITERS)


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
    try:
        with replacing(path) as partial:
            WRITERS[path.suffix.lower()](partial, rows, geometries)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def write_separated(stream: TextIO, rows: Sequence[CandidateRow], separator: str) -> None:
    """A header and one line per candidate, full precision, empty where there is no value."""
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([plain(value) for value in asdict(row).values()] for row in rows)


def _write_csv(path: Path, rows: Sequence[CandidateRow], _: Geometries) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        write_separated(stream, rows, ",")


def _write_json(path: Path, rows: Sequence[CandidateRow], _: Geometries) -> None:
    with path.open("w", encoding="utf-8") as stream:
        json.dump([asdict(row) for row in rows], stream, indent=1, default=lambda value: str(plain(value)))
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
    molecules = geometries()
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(output.sdf_record(molecules[row.conformer_id], row.inchikey, asdict(row)))


WRITERS: dict[str, Callable[[Path, Sequence[CandidateRow], Geometries], None]] = {
    ".sdf": _write_sdf,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
}
