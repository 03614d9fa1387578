"""Jobs of the database as QCSchema, which other programs of the field read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from gapsmith.core.codec import decode
from gapsmith.core.errors import DataError, InputError, UnavailableError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.qcschema import to_atomic_result
from gapsmith.store.database import Connection
from gapsmith.training.files import write_atomically

COLUMNS = ("energy_hartree", "gap_ev", "homo_ev", "lumo_ev", "dipole_debye", "rung", "rearranged", "wall_s", "cpu_s")


def write_result(connection: Connection, job: UUID, path: Path) -> None:
    """Write a job that is done as an AtomicResult; raises InputError if it is not done, UnavailableError if it cannot."""
    document = results(connection, [job]).get(job)
    if document is None:
        raise InputError(f"job {job} has no result that could be written; gapsmith jobs why says where it is")
    try:
        write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def results(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """AtomicResults of those of the jobs that are done."""
    rows = connection.execute(
        f"""SELECT k.id, {", ".join(f"k.{name}" for name in COLUMNS)}, k.findings, k.host, k.software, k.result, k.charge,
                   k.spin, l.definition, f.method, f.numbers, f.coordinates_angstrom, f.bonds, f.charges,
                   r.coordinates_angstrom AS relaxed
            FROM calculations k JOIN conformers f ON f.id = k.conformer_id
            LEFT JOIN conformers r ON r.id = k.result_conformer_id LEFT JOIN levels l ON l.version = k.level_version
            WHERE k.id = ANY(%s) AND k.state = 'done'""",
        (list(ids),),
    ).fetchall()
    return {row["id"]: _document(row) for row in rows}


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["definition"] is None:
        raise DataError(f"the level of theory of job {row['id']} is not stored")
    level = LevelOfTheory.model_validate(row["definition"])
    start = decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
    job = CalculationInput.of(start.numbers, start.coordinates, level, row["charge"], row["spin"], row["method"])
    end = None
    if row["relaxed"] is not None:
        end = decode(row["numbers"], row["relaxed"], row["bonds"], row["charges"]).coordinates.tolist()
    output = CalculationOutput.model_validate(
        {
            **(row["result"] or {}),
            **{name: row[name] for name in COLUMNS},
            "findings": row["findings"],
            "host": row["host"] or "",
            "software": row["software"] or {},
            "coordinates_angstrom": end,
        }
    )
    document: dict[str, Any] = json.loads(to_atomic_result(job, output).json())
    return document | {"id": str(row["id"])}
