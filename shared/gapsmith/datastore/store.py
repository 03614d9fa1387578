"""The one thing that training asks of its data, and two simple answers: from disk every time, and all in memory."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from gapsmith.datastore.ragged import Ragged, Schema, joined
from gapsmith.datastore.shards import Index

AHEAD = 2  # fetches that wait to be asked for


class SampleStore(Protocol):
    """Random access to a data set; safe to use from several threads."""

    @property
    def schema(self) -> Schema:
        """The arrays of every sample."""
        ...

    @property
    def sizes(self) -> np.ndarray:
        """(samples,) unsigned: atoms of every sample, which every process knows."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def fetch(self, indices: np.ndarray) -> Ragged:
        """Samples in the order asked, repeated if asked for repeatedly; raises IndexError."""
        ...

    def close(self) -> None:
        """Give back what the store holds."""
        ...


class Held:
    """Some of a data set's shards in memory."""

    def __init__(self, index: Index, numbers: np.ndarray) -> None:
        """Read shards, each once.

        Args:
            index: of the data set.
            numbers: (held,) which shards, ascending.

        Raises:
            DataError: a shard is missing or damaged.
        """
        self._starts, self._local = index.starts, np.full(len(index.shards), -1)
        sizes = [index.sizes[self._starts[n] : self._starts[n + 1]] for n in numbers]
        self.samples = Ragged.empty(index.schema, np.concatenate([np.zeros(0, index.sizes.dtype), *sizes]))
        start = 0
        for number in numbers:
            index.load(number).write_into(self.samples, start)
            self._local[number] = start
            start += index.shards[number].samples

    def take(self, indices: np.ndarray) -> Ragged:
        """Samples by their number in the whole set; raises IndexError if one is not held."""
        shards = shards_of(self._starts, indices)
        local = self._local[shards]
        if (local < 0).any():
            raise IndexError(f"shards {np.unique(shards[local < 0]).tolist()} are not held here")
        return self.samples.take(local + indices - self._starts[shards])


class WholeStore:
    """Every process holds everything."""

    def __init__(self, index: Index) -> None:
        self._held = Held(index, np.arange(len(index.shards)))
        self.schema, self.sizes = index.schema, index.sizes

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.sizes)

    def fetch(self, indices: np.ndarray) -> Ragged:
        """Samples in the order asked; raises IndexError."""
        return self._held.samples.take(checked(indices, len(self)))

    def close(self) -> None:
        """Nothing to give back but memory."""


class DiskStore:
    """Every fetch reads from disk, through memory maps; a shard is checked when it is first opened."""

    def __init__(self, index: Index) -> None:
        self._index, self._starts = index, index.starts
        self._open: dict[int, Ragged] = {}
        self.schema, self.sizes = index.schema, index.sizes

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.sizes)

    def fetch(self, indices: np.ndarray) -> Ragged:
        """Samples in the order asked; raises IndexError, or DataError if a shard is missing or damaged."""
        indices = checked(indices, len(self))
        shards = shards_of(self._starts, indices)
        parts, places = [], []
        for number in np.unique(shards):
            place = np.flatnonzero(shards == number)
            parts.append(self._shard(int(number)).take(indices[place] - self._starts[number]))
            places.append(place)
        return in_order(parts, places, self.schema)

    def _shard(self, number: int) -> Ragged:
        if (shard := self._open.get(number)) is None:
            shard = self._open[number] = self._index.load(number)
        return shard

    def close(self) -> None:
        """Unmap the files."""
        self._open.clear()


class Prefetched:
    """A store whose next samples are fetched in a background thread while the caller computes."""

    def __init__(self, store: SampleStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._coming: deque[tuple[np.ndarray, Future[Ragged]]] = deque()
        self.schema, self.sizes = store.schema, store.sizes

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._store)

    def prefetch(self, indices: np.ndarray) -> None:
        """Start to fetch what a later ``fetch`` will ask for; what nobody asked for in time is forgotten."""
        if any(np.array_equal(indices, known) for known, _ in self._coming):
            return
        if len(self._coming) == AHEAD:
            self._coming.popleft()[1].cancel()
        asked = np.array(indices)
        self._coming.append((asked, self._thread.submit(self._store.fetch, asked)))

    def fetch(self, indices: np.ndarray) -> Ragged:
        """Samples in the order asked, prefetched ones at once; raises what the store raises."""
        for place, (known, future) in enumerate(self._coming):
            if np.array_equal(indices, known):
                del self._coming[place]
                return future.result()
        return self._store.fetch(indices)

    def close(self) -> None:
        """End the thread and close the store."""
        self._thread.shutdown(cancel_futures=True)
        self._store.close()


def checked(indices: np.ndarray, samples: int) -> np.ndarray:
    """(samples,) int64 indices; raises IndexError on one outside the data set."""
    indices = np.asarray(indices, np.int64)
    if indices.ndim != 1 or ((indices < 0) | (indices >= samples)).any():
        raise IndexError(f"samples are numbered from 0 to {samples - 1}, asked for {indices}")
    return indices


def shards_of(starts: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """(indices,) the shard of every sample."""
    return np.searchsorted(starts, indices, side="right") - 1


def in_order(parts: list[Ragged], places: list[np.ndarray], schema: Schema) -> Ragged:
    """Parts as one set in which the samples of each stand at their places."""
    if not parts:
        return Ragged.empty(schema, np.zeros(0, np.int64))
    order = np.empty(sum(map(len, places)), np.int64)
    order[np.concatenate(places)] = np.arange(len(order))
    return joined(parts).take(order)
