"""Jobs of the database as files of other programs: geometries, orbitals, inputs, QCSchema."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from gapsmith.core import properties
from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import DataError, InputError, UnavailableError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.lifecycle import CalculationState
from gapsmith.core.output import check_output, xyz
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.commands.inputs import WRITERS, title_of
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.qcschema import to_atomic_result
from gapsmith.store import calculation_files, conformers, job_story
from gapsmith.store.conformers import Conformer
from gapsmith.store.database import Connection
from gapsmith.store.job_story import Story
from gapsmith.training.files import write_atomically

ORBITALS = "orbitals.molden"  # the file of a level that lists orbitals
ENDINGS = (".xyz", ".extxyz", ".molden", ".json", *WRITERS)
COLUMNS = ("energy_hartree", "gap_ev", "homo_ev", "lumo_ev", "dipole_debye", "rung", "rearranged", "wall_s", "cpu_s")


def write(connection: Connection, job: UUID, path: Path) -> None:
    """Write a job that is done in the format of the file's ending.

    Raises:
        InputError: it is not done, has no orbitals for a Molden file, or its level has no name in the program that is meant.
        UnavailableError: the file cannot be written.
    """
    check_output(path, ENDINGS)
    one = job_story.story(connection, job)
    if one.state != CalculationState.DONE:
        raise InputError(f"job {job} has no result that could be written; gapsmith jobs why says where it is")
    content = _content(connection, one, path.suffix.lower())
    try:
        write_atomically(path, content)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def _content(connection: Connection, one: Story, ending: str) -> bytes:
    if ending == ".molden":
        if ORBITALS not in {file.name for file in one.files}:
            raise InputError(
                f"job {one.id} kept no orbitals: compute it at a level with 'properties: [orbitals]', such as spectra"
            )
        return gzip.decompress(calculation_files.packed(connection, one.id, ORBITALS))
    job, output = _read(one, conformers.several(connection, one.geometry_ids))
    final = job.model_copy(update={"coordinates_angstrom": output.coordinates_angstrom or job.coordinates_angstrom})
    title = title_of(f"{one.smiles or one.formula} {job.level.title} job {one.id}")
    if ending == ".json":
        return (json.dumps(_document(one, job, output), indent=1) + "\n").encode()
    if ending == ".xyz":
        comment = f"charge={job.charge} multiplicity={job.spin + 1} {title}"
        return xyz(conformers.get(connection, one.final_conformer_id).molecule, comment).encode()
    if ending == ".extxyz":
        return _extended_xyz(final, output, title).encode()
    return WRITERS[ending](final, title).encode()


def _extended_xyz(job: CalculationInput, output: CalculationOutput, title: str) -> str:
    """A frame with the properties that have a value in its comment (energies in eV) and charges in a column, if known."""
    kinds, found = properties.registered(), properties.computed(output.model_dump())
    values = {"energy": output.energy_hartree * HARTREE_TO_EV, **{kinds[name].column: found[name] for name in found}}
    charges = output.mulliken_e
    columns = "species:S:1:pos:R:3" + ("" if charges is None else ":mulliken_e:R:1")
    words = [f"Properties={columns}", f"charge={job.charge}", f"multiplicity={job.spin + 1}"]
    words += [f"{key}={value:.10g}" for key, value in values.items()]
    words += [f'level="{job.level.title}"', f'title="{title}"', 'pbc="F F F"']
    rows = []
    for place, (number, (x, y, z)) in enumerate(zip(job.numbers, job.positions.tolist(), strict=True)):
        charge = "" if charges is None else f" {charges[place]:12.8f}"
        rows.append(f"{SYMBOLS[number]:2s} {x:15.8f} {y:15.8f} {z:15.8f}{charge}")
    return "\n".join([str(len(rows)), " ".join(words), *rows, ""])


def results(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """AtomicResults of those of the jobs that are done."""
    done = {id_: one for id_, one in job_story.stories(connection, ids).items() if one.state == CalculationState.DONE}
    geometries = conformers.several(connection, [id_ for one in done.values() for id_ in one.geometry_ids])
    return {id_: _document(one, *_read(one, geometries)) for id_, one in done.items()}


def _read(story: Story, geometries: Mapping[UUID, Conformer]) -> tuple[CalculationInput, CalculationOutput]:
    """What was computed and what came of it."""
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
    return job, output


def _document(story: Story, job: CalculationInput, output: CalculationOutput) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(to_atomic_result(job, output).json())
    return document | {"id": str(story.id)}
