"""Geometries, read by id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from gapsmith.core.codec import decode
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import NotFound
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Conformer:
    """A row."""

    id: UUID
    molecule_id: int | None
    method: str  # how it was made: generated, gfn2-xtb or a level of theory
    molecule: Molecule
    energy_hartree: float | None
    properties: Mapping[str, float]  # by that method, by name


def get(connection: Connection, conformer_id: UUID) -> Conformer:
    """One of them; raises NotFound if there is none of that id."""
    found = several(connection, [conformer_id])
    if conformer_id not in found:
        raise NotFound(f"no conformer has the id {conformer_id}")
    return found[conformer_id]


def several(connection: Connection, conformer_ids: Sequence[UUID]) -> dict[UUID, Conformer]:
    """Those that there are, by id."""
    rows = connection.execute(
        """SELECT id, molecule_id, method, energy_hartree, properties, numbers, coordinates_angstrom, bonds, charges
           FROM conformers WHERE id = ANY(%s)""",
        (list(conformer_ids),),
    ).fetchall()
    found = {}
    for row in rows:
        arrays = [row.pop(name) for name in ("numbers", "coordinates_angstrom", "bonds", "charges")]
        found[row["id"]] = Conformer(molecule=decode(*arrays), **row)
    return found
