"""Molecules with labels as arrays: what sources of training data hold and networks learn from."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gapsmith.data.electronic_records import ElectronicRecords


@dataclass(frozen=True)
class Molecules:
    """A set of molecules, atoms concatenated; NaN where a label is unknown."""

    offsets: np.ndarray  # (molecules + 1,) int64: atoms of molecule i are offsets[i]:offsets[i + 1]
    numbers: np.ndarray  # (atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom
    graph: Mapping[str, np.ndarray] = field(default_factory=dict)  # labels of molecules: (molecules,) float64
    node: Mapping[str, np.ndarray] = field(default_factory=dict)  # labels of atoms: (atoms,) or (atoms, 3) float32
    electronic: ElectronicRecords | None = None  # GFN2-xTB's, for networks that see it

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(molecules,) number of atoms."""
        return np.diff(self.offsets)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels of molecules and of atoms by quantity."""
        return {**self.graph, **self.node}

    def target(self, name: str) -> np.ndarray:
        """(molecules,) labels of a quantity of molecules."""
        return self.graph[name] if name in self.graph else np.full(len(self), np.nan)

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
            {name: values[chosen] for name, values in self.graph.items()},
            {name: values[rows] for name, values in self.node.items()},
            None if self.electronic is None else self.electronic.take(chosen, rows),
        )

    def seen(self, electronic: ElectronicRecords | None = None) -> "Molecules":
        """The same with GFN2-xTB's electronic structure, given or computed; without those whose SCF does not converge."""
        found = electronic or ElectronicRecords.of(self.offsets, self.numbers, self.coordinates)
        return replace(self, electronic=found).take(np.flatnonzero(found.there))

    def only(self, names: Collection[str]) -> "Molecules":
        """The same with labels of these quantities alone."""
        graph, node = ({name: x for name, x in some.items() if name in names} for some in (self.graph, self.node))
        return replace(self, graph=graph, node=node)

    def scaled(self, factors: Mapping[str, float]) -> "Molecules":
        """The same with labels in other units; what is not named stays as it is."""
        graph, node = (
            {name: x * factors[name] if factors.get(name, 1.0) != 1.0 else x for name, x in some.items()}
            for some in (self.graph, self.node)
        )
        return replace(self, graph=graph, node=node)

    def labelled(self) -> tuple[str, ...]:
        """Quantities of which there is any label, by name."""
        return tuple(sorted(name for name, values in self.labels.items() if np.isfinite(values).any()))

    def sha256(self) -> str:
        """Hash of the geometries and labels, in their order."""
        digest = hashlib.sha256()
        arrays = {"offsets": self.offsets, "numbers": self.numbers, "coordinates": self.coordinates}
        for name, array in (*arrays.items(), *sorted(self.labels.items())):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def joined(parts: Sequence[Molecules]) -> Molecules:
    """The molecules of all parts, in order; labels that a part lacks are unknown."""
    seen = [part.electronic for part in parts if part.electronic is not None]
    ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
    offsets = [np.zeros(1, np.int64), *(part.offsets[1:] + end for part, end in zip(parts, ends, strict=False))]
    return Molecules(
        np.concatenate(offsets),
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.coordinates for part in parts]),
        _joined([(part.graph, len(part)) for part in parts]),
        _joined([(part.node, len(part.numbers)) for part in parts]),
        ElectronicRecords.joined(seen) if len(seen) == len(parts) else None,
    )


def _joined(parts: Sequence[tuple[Mapping[str, np.ndarray], int]]) -> dict[str, np.ndarray]:
    kinds = {name: values[:0] for labels, _ in parts for name, values in labels.items()}
    return {
        name: np.concatenate(
            [labels.get(name, np.full((rows, *kind.shape[1:]), np.nan, kind.dtype)) for labels, rows in parts]
        )
        for name, kind in kinds.items()
    }
