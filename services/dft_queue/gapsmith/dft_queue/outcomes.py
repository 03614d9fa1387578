"""Outcomes of calculations into Postgres: one transaction each, with the event that tells of it, under the lease."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np

from gapsmith.core.errors import CalculationError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.jobs import CalculationOutput
from gapsmith.store import calculation_files, calculations, candidates, conformers
from gapsmith.store.calculations import Calculation, Result
from gapsmith.store.database import Connection, Database

OWN_COLUMNS = {
    "energy_hartree", "gap_ev", "homo_ev", "lumo_ev", "dipole_debye", "rung", "wall_s", "cpu_s", "host", "software",
    "rearranged", "findings", "coordinates_angstrom", "files",
}  # fmt: skip


class _LeaseLostError(Exception):
    """Rolls the transaction back."""


def store_output(
    database: Database,
    calculation: Calculation,
    owner: str,
    level: LevelOfTheory,
    output: CalculationOutput,
    files: Path,
    log_tail: str = "",
) -> bool:
    """Store a result, with its relaxed geometry and its files; False, and nothing stored, if the lease is lost.

    Args:
        database: Postgres.
        calculation: which.
        owner: of the lease.
        level: what was computed.
        output: what came of it.
        files: folder of the files that the output names.
        log_tail: the end of the log.
    """
    contents = [(name, (files / name).read_bytes()) for name in output.files]
    try:
        with database.transaction() as connection:
            result = Result(
                energy_hartree=output.energy_hartree,
                gap_ev=output.gap_ev,
                homo_ev=output.homo_ev,
                lumo_ev=output.lumo_ev,
                dipole_debye=output.dipole_debye,
                rung=output.rung,
                wall_s=output.wall_s,
                cpu_s=output.cpu_s,
                host=output.host,
                software=output.software,
                result_conformer_id=_relaxed(connection, calculation, level, output),
                rearranged=output.rearranged,
                findings=output.findings,
                extra=output.model_dump(mode="json", exclude=OWN_COLUMNS, exclude_none=True),
            )
            if not calculations.finish(connection, calculation.id, owner, result, log_tail):
                raise _LeaseLostError
            for name, content in contents:
                calculation_files.keep(connection, calculation.id, name, content)
    except _LeaseLostError:
        return False
    return True


def store_failure(
    database: Database, calculation: Calculation, owner: str, failure: CalculationError, log_tail: str = ""
) -> bool:
    """Store a failed attempt; False, and nothing stored, if the lease is lost."""
    with database.transaction() as connection:
        state = calculations.fail(connection, calculation.id, owner, failure, log_tail)
    return state is not None


def _relaxed(
    connection: Connection, calculation: Calculation, level: LevelOfTheory, output: CalculationOutput
) -> UUID | None:
    """Store the relaxed geometry, with the bonds of the one that the calculation started from."""
    if output.coordinates_angstrom is None:
        return None
    start = conformers.get(connection, calculation.conformer_id)
    return candidates.add_conformer(
        connection,
        replace(start.molecule, coordinates=np.array(output.coordinates_angstrom)),
        method=level.own_geometry if "self" in level.relaxation else level.relaxation[-1],
        molecule_id=None if output.rearranged else start.molecule_id,
        energy_hartree=output.energy_hartree,
    )
