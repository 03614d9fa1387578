"""Samples of other ranks that are kept for a while: the least recently used go first."""

import numpy as np

from gapsmith.datastore.ragged import Ragged, Schema, rows_of


class SampleCache:
    """Places of equal length in arrays, so that whole batches go in and out without a loop over samples."""

    def __init__(self, schema: Schema, sizes: np.ndarray, most_bytes: int) -> None:
        """Reserve memory.

        Args:
            schema: arrays of every sample.
            sizes: (samples,) atoms of every sample of the data set.
            most_bytes: bound of the arrays; 4 bytes more are needed for every sample of the data set.
        """
        self._schema, self._sizes = schema, sizes
        self._length = int(sizes.max(initial=0))
        each = sum(x.entry_bytes * (self._length if x.per_atom else 1) for x in schema.values())
        self.places = min(most_bytes // max(1, each), len(sizes))
        self._place = np.full(len(sizes) if self.places else 0, -1, np.int32)  # of every sample
        self._sample = np.full(self.places, -1)  # at every place
        self._used = np.zeros(self.places, np.int64)  # when
        self._clock = 0
        self._arrays = {
            name: np.empty((self.places * (self._length if x.per_atom else 1), *x.shape), x.dtype)
            for name, x in schema.items()
        }

    def known(self, indices: np.ndarray) -> np.ndarray:
        """(indices,) which samples are here."""
        if self.places == 0:
            return np.zeros(len(indices), bool)
        return np.asarray(self._place[indices] >= 0)

    def take(self, indices: np.ndarray) -> Ragged:
        """Samples that are here."""
        places, found = self._place[indices].astype(np.int64), Ragged.empty(self._schema, self._sizes[indices])
        self._clock += 1
        self._used[places] = self._clock
        rows = rows_of(places * self._length, self._sizes[indices])
        for name, field in self._schema.items():
            np.take(self._arrays[name], rows if field.per_atom else places, axis=0, out=found.arrays[name])
        return found

    def keep(self, indices: np.ndarray, samples: Ragged) -> None:
        """Keep different samples that are not here yet, as many as there are places for."""
        indices, samples = indices[: self.places], samples.between(0, min(len(indices), self.places))
        if len(indices) == 0:
            return
        places = np.argpartition(self._used, len(indices) - 1)[: len(indices)]
        gone = self._sample[places]
        self._place[gone[gone >= 0]] = -1
        self._clock += 1
        self._place[indices], self._sample[places], self._used[places] = places, indices, self._clock
        rows = rows_of(places * self._length, samples.sizes)
        for name, field in self._schema.items():
            self._arrays[name][rows if field.per_atom else places] = samples.arrays[name]
