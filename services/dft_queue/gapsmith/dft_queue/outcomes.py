"""Outcomes of calculations into Postgres: one transaction each, with the event that tells of it, under the lease."""

from uuid import UUID

import numpy as np

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError
from gapsmith.dft_queue.jobs import CalculationOutput
from gapsmith.dft_queue.levels import find
from gapsmith.store import calculations, candidates
from gapsmith.store.calculations import Calculation, Result
from gapsmith.store.database import Connection, Database


class _LeaseLostError(Exception):
    """Rolls the transaction back."""


def store_output(
    database: Database, calculation: Calculation, owner: str, molecule: Molecule, output: CalculationOutput
) -> bool:
    """Store a result, with its relaxed geometry if there is one; False, and nothing stored, if the lease is lost.

    Args:
        database: Postgres.
        calculation: which.
        owner: of the lease.
        molecule: what was computed, for the bonds of the relaxed geometry.
        output: what came of it.
    """
    try:
        with database.transaction() as connection:
            result = Result(
                gap_ev=output.gap_ev,
                homo_ev=output.homo_ev,
                lumo_ev=output.lumo_ev,
                energy_hartree=output.energy_hartree,
                dipole_debye=output.dipole_debye,
                rung=output.rung,
                wall_s=output.wall_s,
                cpu_s=output.cpu_s,
                software=output.software,
                result_conformer_id=_relaxed(connection, calculation, molecule, output),
                extra={"mulliken_e": list(output.mulliken_e), "relaxation_steps": output.relaxation_steps},
            )
            if not calculations.finish(connection, calculation.id, owner, result):
                raise _LeaseLostError
    except _LeaseLostError:
        return False
    return True


def store_failure(database: Database, calculation: Calculation, owner: str, failure: CalculationError) -> bool:
    """Store a failed attempt; False, and nothing stored, if the lease is lost."""
    with database.transaction() as connection:
        state = calculations.fail(connection, calculation.id, owner, failure.failure_class, failure.reason)
    return state is not None


def _relaxed(
    connection: Connection, calculation: Calculation, molecule: Molecule, output: CalculationOutput
) -> UUID | None:
    if output.coordinates_angstrom is None:
        return None
    row = connection.execute("SELECT molecule_id FROM conformers WHERE id = %s", (calculation.conformer_id,)).fetchone()
    relaxed = Molecule(molecule.numbers, np.array(output.coordinates_angstrom), molecule.charges, molecule.bonds)
    return candidates.add_conformer(
        connection,
        relaxed,
        method=find(calculation.level).method,
        molecule_id=row["molecule_id"] if row else None,
        energy_hartree=output.energy_hartree,
    )
