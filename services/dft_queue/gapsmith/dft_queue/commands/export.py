"""Jobs of the database as QCSchema, which other programs of the field read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from gapsmith.core.errors import DataError, InputError, UnavailableError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.lifecycle import CalculationState
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.qcschema import to_atomic_result
from gapsmith.store import conformers, job_story
from gapsmith.store.conformers import Conformer
from gapsmith.store.database import Connection
from gapsmith.store.job_story import Story
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
    done = {id_: one for id_, one in job_story.stories(connection, ids).items() if one.state == CalculationState.DONE}
    geometries = conformers.several(connection, [id_ for one in done.values() for id_ in one.geometry_ids])
    return {id_: _document(one, geometries) for id_, one in done.items()}


def _document(story: Story, geometries: Mapping[UUID, Conformer]) -> dict[str, Any]:
    if story.definition is None:
        raise DataError(f"the level of theory of job {story.id} is not stored")
    level, start = LevelOfTheory.model_validate(story.definition), geometries[story.conformer_id]
    numbers, coordinates = start.molecule.numbers, start.molecule.coordinates
    job = CalculationInput.of(numbers, coordinates, level, story.charge, story.spin, start.method)
    relaxed = story.result_conformer_id
    output = CalculationOutput.model_validate(
        {
            **story.extra,
            **{name: getattr(story, name) for name in COLUMNS},
            "findings": story.findings,
            "host": story.host or "",
            "software": story.software,
            "coordinates_angstrom": None if relaxed is None else geometries[relaxed].molecule.coordinates.tolist(),
        }
    )
    document: dict[str, Any] = json.loads(to_atomic_result(job, output).json())
    return document | {"id": str(story.id)}
