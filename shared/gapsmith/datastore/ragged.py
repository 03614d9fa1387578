"""Samples of unequal length (molecules) as concatenated arrays with offsets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from gapsmith.core.errors import InputError


@dataclass(frozen=True)
class Field:
    """One array of a data set."""

    dtype: str  # numpy's name, little-endian
    shape: tuple[int, ...]  # of the entry of one sample or one atom
    per_atom: bool  # one entry for every atom, else one for every sample

    @property
    def entry_bytes(self) -> int:
        """Bytes of one entry."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


Schema = dict[str, Field]


@dataclass(frozen=True)
class Ragged:
    """Some samples, in order."""

    offsets: np.ndarray  # (samples + 1,) int64: atoms of sample i are offsets[i]:offsets[i + 1]
    arrays: Mapping[str, np.ndarray]  # (samples, *shape) or, per atom, (offsets[-1], *shape)
    schema: Schema

    @classmethod
    def of(
        cls, offsets: np.ndarray, *, per_sample: Mapping[str, np.ndarray], per_atom: Mapping[str, np.ndarray]
    ) -> "Ragged":
        """Samples out of arrays; raises InputError if their lengths do not fit the offsets.

        Args:
            offsets: (samples + 1,) from zero, ascending.
            per_sample: (samples, ...) each.
            per_atom: (offsets[-1], ...) each.
        """
        offsets = np.asarray(offsets, np.int64)
        if len(offsets) == 0 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise InputError("offsets of samples must start at zero and never fall")
        if both := per_sample.keys() & per_atom.keys():
            raise InputError(f"arrays {sorted(both)} are given both per sample and per atom")
        arrays, schema = {}, {}
        for given, atoms, length in ((per_sample, False, len(offsets) - 1), (per_atom, True, int(offsets[-1]))):
            for name, array in given.items():
                little = np.asarray(array, array.dtype.newbyteorder("<"))
                if little.ndim == 0 or len(little) != length:
                    raise InputError(f"array {name} has shape {array.shape}, its first dimension must be {length}")
                arrays[name] = little
                schema[name] = Field(little.dtype.str, little.shape[1:], atoms)
        return cls(offsets, arrays, schema)

    @classmethod
    def empty(cls, schema: Schema, sizes: np.ndarray) -> "Ragged":
        """Uninitialised memory for samples of these sizes (atoms)."""
        offsets = offsets_of(sizes)
        length = {True: int(offsets[-1]), False: len(sizes)}
        arrays = {name: np.empty((length[x.per_atom], *x.shape), x.dtype) for name, x in schema.items()}
        return cls(offsets, arrays, schema)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(samples,) number of atoms."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def take(self, chosen: np.ndarray) -> "Ragged":
        """Copies of the chosen samples in that order."""
        starts = self.offsets[chosen]
        sizes = self.offsets[chosen + 1] - starts
        offsets, rows = offsets_of(sizes), rows_of(starts, sizes)
        arrays = {
            name: np.take(array, rows if self.schema[name].per_atom else chosen, axis=0)
            for name, array in self.arrays.items()
        }
        return Ragged(offsets, arrays, self.schema)

    def between(self, start: int, stop: int) -> "Ragged":
        """A run of samples, without copying their arrays."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        arrays = {
            name: array[first:last] if self.schema[name].per_atom else array[start:stop]
            for name, array in self.arrays.items()
        }
        return Ragged(self.offsets[start : stop + 1] - first, arrays, self.schema)

    def write_into(self, whole: "Ragged", start: int) -> None:
        """Copy all samples into another set's memory, from its sample ``start`` on."""
        part = whole.between(start, start + len(self))
        for name, array in self.arrays.items():
            part.arrays[name][...] = array

    def views(self) -> Iterator[memoryview]:
        """The arrays' memory as bytes, in order of the schema: what travels between ranks."""
        for name in self.schema:
            array = np.ascontiguousarray(self.arrays[name])
            if array.nbytes:  # empty arrays cannot be cast
                yield array.reshape(-1).view(np.uint8).data


def joined(parts: Sequence[Ragged]) -> Ragged:
    """The samples of all parts, in order; raises InputError if their arrays differ in kind."""
    if not parts:
        raise InputError("there are no samples to join")
    schema = parts[0].schema
    for part in parts[1:]:
        check_same(schema, part.schema)
    if len(parts) == 1:
        return parts[0]
    offsets = offsets_of(np.concatenate([part.sizes for part in parts]))
    arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in schema}
    return Ragged(offsets, arrays, schema)


def check_same(one: Schema, other: Schema) -> None:
    """Raise InputError unless two sets of samples have the same arrays."""
    if one != other:
        names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        raise InputError(f"samples differ in the kind of their arrays {', '.join(names)}: they cannot be one data set")


def offsets_of(sizes: np.ndarray) -> np.ndarray:
    """(samples + 1,) int64 out of (samples,) sizes."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def rows_of(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rows of samples that start at ``starts`` and are ``sizes`` long, one after another."""
    offsets = offsets_of(sizes)
    return np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
