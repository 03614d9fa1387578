"""QM9 at GFN2-xTB geometries: what the surrogate sees in a campaign, with QM9's own gaps as labels.

``python -m gapsmith.surrogate.relaxed --split train --molecules 5000`` relaxes the first molecules of a split (a split
is in random order) in chunks that are cached, so that it can be stopped and taken up again at any time.
"""

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from gapsmith.core.errors import CalculationError
from gapsmith.core.paths import cache
from gapsmith.surrogate import data

CHUNK = 250


def folder(split: str) -> Path:
    """Where a split's chunks are cached."""
    return cache() / "qm9-gfn2-1" / split


def prepare(split: str, molecules: int) -> None:
    """Relax the first ``molecules`` of a split, chunk by chunk, unless they are there."""
    from gapsmith.surrogate.relaxation import relax  # tblite is not needed where chunks are only read

    source = data.base_split(split)
    for first in range(0, min(molecules, len(source)), CHUNK):
        target = folder(split) / f"{first:06d}.safetensors"
        if target.is_file():
            continue
        chosen = np.arange(first, min(first + CHUNK, len(source)))
        part = source.take(chosen)
        coordinates, done, gaps = (
            part.coordinates.copy(),
            np.zeros(len(part), dtype=np.uint8),
            np.full(len(part), np.nan),
        )
        for index in range(len(part)):
            atoms = slice(int(part.offsets[index]), int(part.offsets[index + 1]))
            try:
                relaxed = relax(part.numbers[atoms], part.coordinates[atoms])
            except CalculationError:
                continue
            coordinates[atoms], gaps[index], done[index] = relaxed.coordinates, relaxed.gap_ev, 1
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        save_file({"coordinates": coordinates, "done": done, "xtb_gap_ev": gaps}, str(partial))
        partial.replace(target)


def load(split: str) -> data.Molecules | None:
    """The molecules of a split that are cached at their relaxed geometries, in order; None if there are none."""
    source = data.base_split(split)
    parts: data.Molecules | None = None
    for file in sorted(folder(split).glob("*.safetensors")):
        tensors = load_file(str(file))
        first = int(file.stem)
        part = source.take(np.arange(first, first + len(tensors["done"])))
        part = data.Molecules(part.offsets, part.numbers, tensors["coordinates"], part.targets)
        part = part.take(np.flatnonzero(tensors["done"]))
        parts = part if parts is None else data.joined(parts, part)
    return parts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Relax molecules of QM9 with GFN2-xTB and cache them.")
    parser.add_argument("--split", choices=("train", "validation", "test"), required=True)
    parser.add_argument("--molecules", type=int, required=True)
    options = parser.parse_args()
    prepare(options.split, options.molecules)


if __name__ == "__main__":
    main()
