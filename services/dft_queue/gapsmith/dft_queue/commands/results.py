"""Results of ``gapsmith dft``: a row for every record of the input, in its order, whole or not at all."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import UUID

import numpy as np

from gapsmith.core import properties
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import UnavailableError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.lifecycle import CalculationState
from gapsmith.core.output import cells, sdf_record
from gapsmith.core.output import check_output as check
from gapsmith.core.properties import Property
from gapsmith.core.terminal import echo
from gapsmith.dft_queue.commands.submitting import Asked
from gapsmith.store import conformers, job_story
from gapsmith.store.database import Connection
from gapsmith.store.job_story import Story
from gapsmith.training.files import replacing

STANDARD_OUTPUT: Final = Path("-")
NUMBERS: Final = ("gap_ev", "homo_ev", "lumo_ev", "energy_hartree", "dipole_debye", "cpu_s")  # columns of the database
MORE_NUMBERS: Final = ("s_squared", "lowest_wavenumber_cm1")  # of the rest of a result
OVER_CONFORMERS: Final = ("conformers", "mean_gap_ev", "mean_gap_std_ev")  # of levels that search for them
COLUMNS: Final = (
    "name", "smiles", "formula", "charge", "multiplicity", "level", "state", "gap_ev", "homo_ev", "lumo_ev", "energy_hartree",
    "dipole_debye", "s_squared", "lowest_wavenumber_cm1", *OVER_CONFORMERS, "rung", "reason", "findings", "cpu_s", "reused",
    "calculation_id",
)  # fmt: skip
NOTHING: Final = Molecule(np.zeros(0, np.uint8), np.zeros((0, 3)), np.zeros(0, np.int8), np.zeros((0, 3), np.int16))

Row = Mapping[str, Any]


def check_output(path: Path) -> None:
    """Raise InputError if no file of this name can be written."""
    if path != STANDARD_OUTPUT:
        check(path, WRITERS)


def rows(connection: Connection, asked: Sequence[Asked], level: LevelOfTheory) -> list[Row]:
    """A row for every record, with what its job has come to and a column for every property that the level adds."""
    found = job_story.stories(connection, list({one.job for one in asked if one.job is not None}))
    more = [one for one in properties.registered().values() if one.asks and set(one.asks) <= set(level.properties)]
    return [_row(one, level.name, more, None if one.job is None else found[one.job]) for one in asked]


def _row(one: Asked, level: str, more: Sequence[Property], job: Story | None) -> Row:
    entry = one.entry
    after = COLUMNS.index("dipole_debye") + 1
    values: dict[str, Any] = dict.fromkeys((*COLUMNS[:after], *(kind.column for kind in more), *COLUMNS[after:]))
    values |= {
        "name": entry.name,
        "smiles": entry.smiles,
        "formula": entry.formula,
        "charge": entry.charge,
        "multiplicity": entry.spin + 1,
        "level": level,
        "reused": one.reused,
    }
    if job is None:
        return values | {"charge": None, "multiplicity": None, "state": "refused", "reason": entry.refusal}
    values |= {name: getattr(job, name) for name in ("state", "rung", *NUMBERS)}
    values |= {name: job.extra.get(name) for name in MORE_NUMBERS}
    values |= {kind.column: kind.computed(job.extra) for kind in more}
    if (ensemble := job.extra.get("ensemble")) is not None:
        found = len(ensemble["conformers"]), ensemble["mean"].get("gap"), ensemble["deviation"].get("gap")
        values |= dict(zip(OVER_CONFORMERS, found, strict=True))
    ended_badly = job.state in (CalculationState.FAILED, CalculationState.CANCELLED)
    reason = ": ".join(filter(None, (job.failure_class, job.failure_reason))) if ended_badly else None
    return values | {
        "reason": reason,
        "findings": "; ".join((*entry.findings, *job.findings)) or None,
        "calculation_id": job.id,
    }


def write(connection: Connection, path: Path, found: Sequence[Row], asked: Sequence[Asked]) -> None:
    """Write rows in the format of the file's ending, or as CSV to standard output.

    Raises:
        UnavailableError: the file cannot be written, for example on a full disk; then nothing is there.
    """
    if path == STANDARD_OUTPUT:
        text = io.StringIO()
        _separated(text, found)
        echo(text.getvalue(), nl=False)
        return
    try:
        with replacing(path) as partial:
            WRITERS[path.suffix.lower()](partial, found, asked, connection)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def _columns(found: Sequence[Row]) -> list[str]:
    return list(found[0] if found else COLUMNS)


def _separated(stream: TextIO, found: Sequence[Row]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_columns(found))
    writer.writerows(cells(row.values()) for row in found)


def _csv(path: Path, found: Sequence[Row], _: Sequence[Asked], __: Connection) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        _separated(stream, found)


def _parquet(path: Path, found: Sequence[Row], _: Sequence[Asked], __: Connection) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict.fromkeys((*NUMBERS, *MORE_NUMBERS, *OVER_CONFORMERS), pa.float64())
    kinds |= {"conformers": pa.int64(), "charge": pa.int64(), "multiplicity": pa.int64(), "reused": pa.bool_()}
    text = dict.fromkeys(COLUMNS, pa.string())  # what is not listed there is a property's number
    schema = pa.schema([(name, kinds.get(name, text.get(name, pa.float64()))) for name in _columns(found)])
    records = [{key: str(value) if isinstance(value, UUID) else value for key, value in row.items()} for row in found]
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path)


def _sdf(path: Path, found: Sequence[Row], asked: Sequence[Asked], connection: Connection) -> None:
    """Final geometries; what was refused has the geometry of its file, or no atoms."""
    jobs = job_story.stories(connection, [one.job for one in asked if one.job is not None])
    final = conformers.several(connection, [one.final_conformer_id for one in jobs.values()])
    with path.open("w", encoding="utf-8") as stream:
        for row, one in zip(found, asked, strict=True):
            job = None if one.job is None else jobs[one.job]
            molecule = (one.entry.molecule or NOTHING) if job is None else final[job.final_conformer_id].molecule
            stream.write(
                sdf_record(molecule, one.entry.name, {key: value for key, value in row.items() if key != "name"})
            )


def _json(path: Path, found: Sequence[Row], asked: Sequence[Asked], connection: Connection) -> None:
    """QCSchema: an AtomicResult for what was computed, a FailedOperation for the rest."""
    from gapsmith.dft_queue.commands.export import results

    done = results(connection, [one.job for one in asked if one.job is not None])
    documents = []
    for row, one in zip(found, asked, strict=True):
        if one.job in done:
            document = done[one.job]
            more = {key: value for key, value in row.items() if key not in COLUMNS and value is not None}
            documents.append({**document, "extras": {**document["extras"], "name": one.entry.name, **more}})
            continue
        error = {"error_type": row["state"], "error_message": row["reason"] or f"it is {row['state']}"}
        job = None if one.job is None else str(one.job)
        documents.append({"success": False, "error": error, "id": job, "extras": {"name": one.entry.name}})
    with path.open("w", encoding="utf-8") as stream:
        json.dump(documents, stream, indent=1)
        stream.write("\n")


WRITERS: Final[Mapping[str, Callable[[Path, Sequence[Row], Sequence[Asked], Connection], None]]] = {
    ".csv": _csv,
    ".sdf": _sdf,
    ".json": _json,
    ".parquet": _parquet,
}
