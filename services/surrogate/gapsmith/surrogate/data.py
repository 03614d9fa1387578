"""Molecules out of geometries with labels, and what a geometry must be."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from gapsmith.core.chemistry.geometry import fault
from gapsmith.core.errors import InputError
from gapsmith.core.units import base_unit
from gapsmith.data.imported import AT
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.quantities import quantities


@cache
def columns() -> dict[str, str]:
    """Quantities of molecules by their names with base unit, e.g. ``gap_ev``."""
    return {
        f"{name}_{base_unit(label.dimension).suffix}": name
        for name, label in quantities().items()
        if label.kind == "graph"
    }


def from_geometries(
    geometries: Sequence[tuple[np.ndarray, np.ndarray]], targets: Sequence[Mapping[str, float]] | None = None
) -> Molecules:
    """Molecules out of (numbers, coordinates) pairs; raises InputError if one is not a sound geometry.

    Args:
        geometries: (atoms,) atomic numbers and (atoms, 3) angstrom each.
        targets: labels by name with base unit, e.g. ``{"gap_ev": 4.1}``, or by the head of a level of its own
            (``gap@pbe0``), in its base unit; a LUMO follows from HOMO and gap.
    """
    for index, (numbers, coordinates) in enumerate(geometries):
        check_geometry(np.asarray(numbers), np.asarray(coordinates), f"molecule {index}")
    sizes = [len(numbers) for numbers, _ in geometries]
    known = columns()
    graph: dict[str, np.ndarray] = {}
    for index, given in enumerate(targets or ()):
        if "lumo_ev" not in given and {"homo_ev", "gap_ev"} <= given.keys():
            given = {**given, "lumo_ev": given["homo_ev"] + given["gap_ev"]}
        for name in given:
            if (head := known.get(name, name if AT in name else None)) is not None:
                graph.setdefault(head, np.full(len(geometries), np.nan))[index] = given[name]
    return Molecules(
        offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        numbers=np.concatenate([np.asarray(z, dtype=np.uint8) for z, _ in geometries] or [np.zeros(0, np.uint8)]),
        coordinates=np.concatenate(
            [np.asarray(x, dtype=np.float32) for _, x in geometries] or [np.zeros((0, 3), np.float32)]
        ),
        graph=graph,
    )


def check_geometry(numbers: np.ndarray, coordinates: np.ndarray, where: str) -> None:
    """Raise InputError unless it is a molecule with distinct finite positions."""
    if reason := fault(numbers, coordinates):
        raise InputError(f"{where}: {reason}")
