"""Sets of molecules with labels, and what a geometry must be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from gapsmith.core.chemistry.geometry import fault
from gapsmith.core.errors import InputError
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.data import qm9
from gapsmith.surrogate.quantities import GRAPH_LEVEL, QUANTITIES, UNITS, base_unit

FREE_ATOMS_HARTREE: Final = {  # B3LYP/6-31G(2df,p), 0 K: table of free atoms published with QM9
    1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730,
}  # fmt: skip
COLUMNS: Final = {  # name with base unit, e.g. gap_ev: column of Molecules.targets
    f"{name}_{UNITS[base_unit(QUANTITIES[name].dimension)].suffix}": index for index, name in enumerate(GRAPH_LEVEL)
}


@dataclass(frozen=True)
class Molecules:
    """A set of molecules, atoms concatenated; NaN where a label is unknown, base units throughout."""

    offsets: np.ndarray  # (molecules + 1,) int64
    numbers: np.ndarray  # (atoms,) uint8
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom
    targets: np.ndarray  # (molecules, quantities) float64, of GRAPH_LEVEL
    charges: np.ndarray | None = None  # (atoms,) float32, Mulliken, e
    forces: np.ndarray | None = None  # (atoms, 3) float32, eV / angstrom

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(molecules,) number of atoms."""
        return np.diff(self.offsets)

    def target(self, name: str) -> np.ndarray:
        """(molecules,) labels of a quantity of molecules."""
        return np.asarray(self.targets[:, GRAPH_LEVEL.index(name)])

    def composition(self, largest: int) -> np.ndarray:
        """(molecules, largest + 1) float64: how many atoms of each atomic number up to the largest."""
        counts = np.zeros((len(self), largest + 1))
        np.add.at(counts, (np.repeat(np.arange(len(self)), self.sizes), self.numbers), 1.0)
        return counts

    def take(self, chosen: np.ndarray) -> "Molecules":
        """The chosen molecules in that order."""
        sizes = self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Molecules(
            offsets,
            self.numbers[rows],
            self.coordinates[rows],
            self.targets[chosen],
            None if self.charges is None else self.charges[rows],
            None if self.forces is None else self.forces[rows],
        )

    def only(self, heads: Sequence[str]) -> "Molecules":
        """The same with labels of these quantities alone."""
        targets = self.targets.copy()
        targets[:, [name not in heads for name in GRAPH_LEVEL]] = np.nan
        return replace(
            self,
            targets=targets,
            charges=self.charges if "mulliken_charge" in heads else None,
            forces=self.forces if "gfn2_forces" in heads else None,
        )

    def labelled(self) -> tuple[str, ...]:
        """Quantities of which there is any label."""
        known = np.isfinite(self.targets).any(0)
        found = [name for name, there in zip(GRAPH_LEVEL, known, strict=True) if there]
        found += ["mulliken_charge"] * (self.charges is not None) + ["gfn2_forces"] * (self.forces is not None)
        return tuple(found)


def joined(parts: Sequence[Molecules]) -> Molecules:
    """The molecules of all parts, in order."""
    ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [np.zeros(1, np.int64), *(part.offsets[1:] + end for part, end in zip(parts, ends, strict=False))]
    return Molecules(
        np.concatenate(offsets),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.coordinates for part in parts]),
        np.concatenate([part.targets for part in parts]),
        _per_atom([(part.charges, (len(part.numbers),)) for part in parts]),
        _per_atom([(part.forces, (len(part.numbers), 3)) for part in parts]),
    )


def _per_atom(arrays: Sequence[tuple[np.ndarray | None, tuple[int, ...]]]) -> np.ndarray | None:
    if all(array is None for array, _ in arrays):
        return None
    whole = [np.full(shape, np.nan, np.float32) if array is None else array for array, shape in arrays]
    return np.concatenate(whole)


@lru_cache(maxsize=1)
def base() -> Molecules:
    """All of QM9, with the energies less those of the free atoms."""
    data = qm9.load()
    targets = np.full((len(data), len(GRAPH_LEVEL)), np.nan)
    for name, column in COLUMNS.items():
        if name in data.properties:
            targets[:, column] = data.properties[name]
    molecules = Molecules(data.offsets, data.numbers, data.coordinates, targets, data.mulliken_e.astype(np.float32))
    free = np.zeros(max(FREE_ATOMS_HARTREE) + 1)
    free[list(FREE_ATOMS_HARTREE)] = list(FREE_ATOMS_HARTREE.values())
    atomization = (data.properties["u0_hartree"] - molecules.composition(len(free) - 1) @ free) * HARTREE_TO_EV
    targets[:, COLUMNS["atomization_energy_ev"]] = atomization
    return molecules


@lru_cache(maxsize=4)
def base_split(name: str) -> Molecules:
    """A part of QM9: ``train``, ``validation`` or ``test``, or ``first`` or ``second`` of EDM's halves."""
    whole = len(base())
    return base().take({**qm9.edm_halves(whole), **qm9.split(whole)}[name])


def from_geometries(
    geometries: Sequence[tuple[np.ndarray, np.ndarray]], targets: Sequence[Mapping[str, float]] | None = None
) -> Molecules:
    """Molecules out of (numbers, coordinates) pairs; raises InputError if one is not a sound geometry.

    Args:
        geometries: (atoms,) atomic numbers and (atoms, 3) angstrom each.
        targets: labels by name with base unit, e.g. ``{"gap_ev": 4.1}``; a LUMO follows from HOMO and gap.
    """
    for index, (numbers, coordinates) in enumerate(geometries):
        check_geometry(np.asarray(numbers), np.asarray(coordinates), f"molecule {index}")
    sizes = [len(numbers) for numbers, _ in geometries]
    labels = np.full((len(geometries), len(GRAPH_LEVEL)), np.nan)
    for row, given in zip(labels, targets or [], strict=False):
        for name, value in given.items():
            if name in COLUMNS:
                row[COLUMNS[name]] = value
        if "lumo_ev" not in given:
            row[COLUMNS["lumo_ev"]] = row[COLUMNS["homo_ev"]] + row[COLUMNS["gap_ev"]]
    return Molecules(
        offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        numbers=np.concatenate([np.asarray(z, dtype=np.uint8) for z, _ in geometries] or [np.zeros(0, np.uint8)]),
        coordinates=np.concatenate(
            [np.asarray(x, dtype=np.float32) for _, x in geometries] or [np.zeros((0, 3), np.float32)]
        ),
        targets=labels,
    )


def check_geometry(numbers: np.ndarray, coordinates: np.ndarray, where: str) -> None:
    """Raise InputError unless it is a molecule with distinct finite positions."""
    if reason := fault(numbers, coordinates):
        raise InputError(f"{where}: {reason}")
