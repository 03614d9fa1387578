"""Training batches out of data stores, for sets of molecules that no process holds whole.

The same batches as ``MixedSource`` gives of the same molecules, but for the bootstrap: its 64 numbers a molecule are
several times the molecule, so they are not kept but drawn again, by the molecule's number, whenever it is seen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from gapsmith.data.molecules import Molecules, joined
from gapsmith.datastore.ragged import Ragged
from gapsmith.datastore.shards import Index, write_shards
from gapsmith.datastore.store import Prefetched, SampleStore
from gapsmith.surrogate.batches import MOST_MEMBERS, Batch, Mixture, Part, by_size, displacements
from gapsmith.surrogate.graph import graph
from gapsmith.surrogate.quantities import FORCES

SHARD_SIZE: Final = 2048
GEOMETRY: Final = ("numbers", "coordinates")  # arrays that are not labels
GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class StoredShare:
    """Molecules of a store that are a fixed share of every batch."""

    store: SampleStore
    labelled: tuple[str, ...]  # quantities of which any molecule has a label; see ``labelled``
    share: float
    noise_angstrom: float


def write_molecules(folder: Path, molecules: Iterable[Molecules], shard_size: int = SHARD_SIZE) -> Index:
    """Write molecules as shards; pieces of any length, with labels of the same quantities.

    Raises:
        InputError: there are none, or the pieces differ in kind.
        DataError: the disk does not take them.
    """
    about: dict[str, Any] = {"labelled": []}
    return write_shards(folder, _ragged(molecules, about["labelled"]), shard_size, about=about)


def _ragged(pieces: Iterable[Molecules], seen: list[str]) -> Iterator[Ragged]:
    for piece in pieces:
        seen += [name for name in piece.labelled() if name not in seen]
        per_atom = {**piece.node, "numbers": piece.numbers, "coordinates": piece.coordinates}
        yield Ragged.of(piece.offsets, per_sample=piece.graph, per_atom=per_atom)


def labelled(index: Index) -> tuple[str, ...]:
    """Quantities of which any stored molecule has a label."""
    return tuple(index.about["labelled"])


def molecules_of(samples: Ragged) -> Molecules:
    """Molecules out of stored samples."""
    labels: dict[bool, dict[str, np.ndarray]] = {False: {}, True: {}}
    for name in samples.arrays.keys() - set(GEOMETRY):
        labels[samples.schema[name].per_atom][name] = samples.arrays[name]
    numbers, coordinates = (samples.arrays[name] for name in GEOMETRY)
    return Molecules(samples.offsets, numbers, coordinates, labels[False], labels[True])


class Stored:
    """Molecules of several stores, one after another, from which batches are gathered; as ``Resident`` does."""

    def __init__(
        self, sources: Sequence[StoredShare], *, seeds: Sequence[int], bootstrap: bool = True, device: str
    ) -> None:
        """Fetch nothing yet.

        Args:
            sources: stores with the noise of their molecules.
            seeds: of every source's bootstrap.
            bootstrap: without it, all weights are one.
            device: of the batches.
        """
        self.device = device
        self._sources, self._seeds, self._bootstrap = sources, seeds, bootstrap
        self._sizes = np.concatenate([source.store.sizes for source in sources])
        self._starts = np.cumsum([0, *(len(source.store) for source in sources)])
        self._noise = np.array([source.noise_angstrom for source in sources], np.float32)
        self._schema = {name: field for source in sources for name, field in source.store.schema.items()}
        self.heads = tuple(sorted({name for source in sources for name in source.labelled}))

    def prefetch(self, chosen: np.ndarray, *, rank: int = 0, size: int = 1) -> None:
        """Start to fetch what ``part`` will need, if the stores can."""
        for number, indices, _ in self._split(by_size(chosen, self._sizes[chosen])[rank::size]):
            store = self._sources[number].store
            if isinstance(store, Prefetched):
                store.prefetch(indices)

    def part(self, chosen: np.ndarray, seed: int, *, rank: int = 0, size: int = 1) -> Part:
        """One rank's share of the chosen molecules; noise is drawn for all of them, so that it does not depend on ranks."""
        chosen = by_size(chosen, self._sizes[chosen])
        share = chosen[rank::size]
        pieces, weights, places = [], np.ones((len(share), MOST_MEMBERS), np.float32), []
        sigma = np.zeros(len(share), np.float32)
        for number, indices, place in self._split(share):
            pieces.append(molecules_of(self._sources[number].store.fetch(indices)))
            places.append(place)
            sigma[place] = self._noise[number]
            if self._bootstrap:
                weights[place] = drawn_weights(indices, self._seeds[number])
        found = joined(pieces)
        if len(pieces) > 1:
            found = found.take(np.argsort(np.concatenate(places)))
        coordinates = self._put(found.coordinates)
        if self._noise.any():
            normal = displacements(self._sizes[chosen].astype(np.int64), seed, rank, size, self.device)
            coordinates = coordinates + self._put(np.repeat(sigma, found.sizes)[:, None]) * normal
        return Part(
            graph(self._put(found.numbers).long(), coordinates, found.sizes),
            {name: self._put(values) for name, values in self._labels(found).items()},
            self._put(weights),
            self.heads,
        )

    def _split(self, share: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Sources with molecules in a share: the source, the molecules there, and their places in the share, by number."""
        which = np.searchsorted(self._starts, share, side="right") - 1
        for number in np.unique(which):
            place = np.flatnonzero(which == number)
            yield int(number), share[place] - self._starts[number], place

    def _labels(self, found: Molecules) -> dict[str, np.ndarray]:
        """Labels of some molecules; unknown ones of quantities that only molecules of other stores have."""
        rows = {False: len(found), True: len(found.numbers)}
        return {
            name: found.labels.get(name, np.full((rows[field.per_atom], *field.shape), np.nan, field.dtype))
            for name, field in self._schema.items()
            if name not in GEOMETRY
        }

    def _put(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor if self.device == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


class StoredSource(Mixture):
    """A mixture of sources in data stores; see BatchSource. Stores that prefetch do so for the step after."""

    def __init__(
        self, sources: Mapping[str, StoredShare], *, batch_size: int, seed: int, device: str, bootstrap: bool = True
    ) -> None:
        of = {name: (len(source.store), source.share) for name, source in sources.items()}
        super().__init__(of, batch_size=batch_size, seed=seed)
        self._stored: list[tuple[Stored, list[tuple[int, int]]]] = []
        for forces in (False, True):
            numbers = [n for n, source in enumerate(sources.values()) if (FORCES in source.labelled) == forces]
            if numbers:
                found = [list(sources.values())[number] for number in numbers]
                stored = Stored(found, seeds=[seed + n for n in numbers], bootstrap=bootstrap, device=device)
                starts = np.cumsum([0, *(len(source.store) for source in found)]).tolist()
                self._stored.append((stored, list(zip(numbers, starts, strict=False))))
        self._groups = list(self._stored)

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Batch:
        """One rank's share of a step's batch."""
        found = super().batch(step, rank=rank, size=size)
        for stored, members in self._stored:
            stored.prefetch(self._wanted(members, step + 1), rank=rank, size=size)
        return found


def drawn_weights(molecules: np.ndarray, seed: int) -> np.ndarray:
    """(molecules, MOST_MEMBERS) float32 exponential weights with mean one, a function of molecule and member alone.

    Counter-based: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) with the seed's state, jumped to the counter.
    """
    start = np.random.SeedSequence([seed, 7]).generate_state(1, np.uint64)
    counter = molecules.astype(np.uint64)[:, None] * np.uint64(MOST_MEMBERS) + np.arange(MOST_MEMBERS, dtype=np.uint64)
    bits: np.ndarray = start + (counter + np.uint64(1)) * GOLDEN  # modulo 2^64
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # [0, 1)
    return np.asarray(-np.log1p(-uniform), np.float32)
