"""QM9 at GFN2-xTB geometries: what the surrogate sees in a campaign, with QM9's own properties as labels.

A split is in random order, so its first molecules are as good as any. They are relaxed in chunks that are cached, so
that the work can be stopped and taken up again at any time; ``gapsmith data xtb`` does it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from gapsmith.core.errors import CalculationError
from gapsmith.core.paths import cache
from gapsmith.surrogate import data
from gapsmith.training.files import write_atomically

CHUNK = 250


def folder(split: str) -> Path:
    """Where a split's chunks are cached."""
    return cache() / "qm9-gfn2-1" / split


def prepare_chunk(split: str, first: int) -> Path:
    """Relax the molecules of a split from number ``first`` to the end of its chunk, unless they are there."""
    from gapsmith.core.xtb import relax  # tblite is not needed where chunks are only read

    target = folder(split) / f"{first:06d}.safetensors"
    if target.is_file():
        return target
    source = data.base_split(split)
    part = source.take(np.arange(first, min(first + CHUNK, len(source))))
    coordinates, done, gaps = part.coordinates.copy(), np.zeros(len(part), np.uint8), np.full(len(part), np.nan)
    for index in range(len(part)):
        atoms = slice(int(part.offsets[index]), int(part.offsets[index + 1]))
        try:
            found = relax(part.numbers[atoms], part.coordinates[atoms])
        except CalculationError:
            continue
        coordinates[atoms], gaps[index], done[index] = found.coordinates, found.gap_ev, 1
    write_chunk(target, {"coordinates": coordinates, "done": done, "xtb_gap_ev": gaps})
    return target


def write_chunk(target: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a chunk, whole or not at all."""
    write_atomically(target, save(dict(tensors)))


def chunk(split: str, first: int) -> data.Molecules:
    """The molecules of a cached chunk that could be relaxed, at their relaxed geometries."""
    tensors = load_file(str(folder(split) / f"{first:06d}.safetensors"))
    part = data.base_split(split).take(np.arange(first, first + len(tensors["done"])))
    part = data.Molecules(part.offsets, part.numbers, tensors["coordinates"], part.targets, part.charges)
    return part.take(np.flatnonzero(tensors["done"]))


def load(split: str) -> data.Molecules | None:
    """The molecules of a split that are cached at their relaxed geometries, in order; None if there are none."""
    chunks = [chunk(split, int(file.stem)) for file in sorted(folder(split).glob("*.safetensors"))]
    return data.joined(chunks) if chunks else None
