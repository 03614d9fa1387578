"""GFN2-xTB's electronic structure of QM9, at QM9's geometries and at GFN2's, cached in chunks as ``relaxed`` is.

The first chunks at QM9's geometries are shipped: a network is fine-tuned beside them and calibrated on them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import load_file

from gapsmith.core.paths import cache
from gapsmith.data.electronic_records import ElectronicRecords
from gapsmith.data.molecules import Molecules, joined
from gapsmith.surrogate import relaxed

GEOMETRIES: Final = ("qm9", "qm9_gfn2")  # names as in ``sources``
ADVICE: Final = (
    "compute some with 'gapsmith data electronic --geometries {geometries} --split {split} --molecules 1000'"
)


SHIPPED: Final = Path(__file__).parent / "replay"


def folder(geometries: str, split: str) -> Path:
    """Where a split's chunks are cached."""
    return cache() / "gfn2-electronic-1" / geometries / split


def files(geometries: str, split: str) -> dict[int, Path]:
    """A split's chunks, shipped or cached, by the number of their first molecule, in order."""
    folders = (folder(geometries, split), SHIPPED / geometries / split)  # the later one wins
    found = {int(file.stem): file for one in folders for file in one.glob("*.safetensors")}
    return dict(sorted(found.items()))


def prepare_chunk(geometries: str, split: str, first: int) -> Path:
    """Compute the molecules from number ``first`` to the end of its chunk, unless they are there."""
    if (there := files(geometries, split).get(first)) is not None:
        return there
    target = folder(geometries, split) / f"{first:06d}.safetensors"
    part = _molecules(geometries, split, first)
    records = ElectronicRecords.of(part.offsets, part.numbers, part.coordinates)
    relaxed.write_chunk(target, records.arrays())
    return target


def prepare(
    geometries: str, split: str, molecules: int | None, on_progress: Callable[[int, int], None] = lambda done, of: None
) -> None:
    """Compute the first molecules of a split, or all, unless they are there; tells how many of how many are."""
    whole = len(relaxed.qm9(split))
    wanted = whole if molecules is None else min(molecules, whole)
    for first in range(0, wanted, relaxed.CHUNK):
        prepare_chunk(geometries, split, first)
        on_progress(min(first + relaxed.CHUNK, wanted), wanted)


def load(geometries: str, split: str) -> Molecules | None:
    """The molecules of a split of which it is cached, with it; None if nothing is."""
    parts = [
        _molecules(geometries, split, first).seen(ElectronicRecords(**load_file(str(file))))
        for first, file in files(geometries, split).items()
    ]
    return joined(parts) if parts else None


def _molecules(geometries: str, split: str, first: int) -> Molecules:
    if geometries == "qm9_gfn2":
        relaxed.prepare_chunk(split, first)
        return relaxed.chunk(split, first)
    whole = relaxed.qm9(split)
    return whole.take(np.arange(first, min(first + relaxed.CHUNK, len(whole))))
