"""QM9 at GFN2-xTB geometries: what the surrogate sees in a campaign, with QM9's own properties as labels.

A split is in random order, so its first molecules are as good as any. They are relaxed in chunks that are cached, so
that the work can be stopped and taken up again at any time; ``gapsmith data xtb`` does it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from gapsmith.core.errors import CalculationError
from gapsmith.core.paths import cache
from gapsmith.data import sources
from gapsmith.data.molecules import Molecules, joined
from gapsmith.data.qm9_source import Qm9Source
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
    source = qm9(split)
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


def chunk(split: str, first: int) -> Molecules:
    """The molecules of a cached chunk that could be relaxed, at their relaxed geometries."""
    tensors = load_file(str(folder(split) / f"{first:06d}.safetensors"))
    part = qm9(split).take(np.arange(first, first + len(tensors["done"])))
    return replace(part, coordinates=tensors["coordinates"]).take(np.flatnonzero(tensors["done"]))


def qm9(split: str) -> Molecules:
    """QM9's molecules of a split at their own geometries."""
    found = sources.find(Qm9Source.name).load(split)
    assert found is not None  # it has all of its splits
    return found


class Qm9Gfn2Source(sources.Source):
    """The molecules of a split that are cached at their relaxed geometries, in order."""

    name, title, licence, rank = "qm9_gfn2", "QM9 at GFN2-xTB geometries", Qm9Source.licence, 1
    origin = f"{Qm9Source.origin}, relaxed by gapsmith data xtb"
    labels = Qm9Source.labels
    advice = "compute some with 'gapsmith data xtb --split {split} --molecules 1000', or leave it out"

    def load(self, split: str) -> Molecules | None:
        """What is cached; None if nothing is."""
        chunks = [chunk(split, int(file.stem)) for file in sorted(folder(split).glob("*.safetensors"))]
        return joined(chunks) if chunks else None
