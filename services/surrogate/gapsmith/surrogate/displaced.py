"""GFN2-xTB energies, forces and gaps of QM9 molecules, relaxed and displaced: a cheap source of its own.

Chunks beside those of ``relaxed``, from whose geometries they start; each is written whole, so that the work can be
stopped and taken up again at any time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import load_file

from gapsmith.core.errors import CalculationError
from gapsmith.core.paths import cache
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import Label, Source
from gapsmith.surrogate import relaxed

FRAMES: Final = 3  # of a molecule: relaxed, then displaced
LEAST_SIGMA, MOST_SIGMA = 0.02, 0.12  # angstrom, of each displacement
SEED = 2024
METHOD: Final = "GFN2-xTB"


def folder(split: str) -> Path:
    """Where a split's chunks are cached."""
    return cache() / "gfn2-displaced-1" / split


def prepare_chunk(split: str, first: int) -> Path:
    """Compute one chunk from the chunk of relaxed geometries, unless it is there."""
    from gapsmith.core.xtb import single_point  # tblite is not needed where chunks are only read

    target = folder(split) / f"{first:06d}.safetensors"
    if target.is_file():
        return target
    part = relaxed.chunk(split, first)
    draw = np.random.default_rng([SEED, first])
    frames = []
    for index in range(len(part)):
        atoms = slice(int(part.offsets[index]), int(part.offsets[index + 1]))
        for frame in range(FRAMES):
            sigma = 0.0 if frame == 0 else draw.uniform(LEAST_SIGMA, MOST_SIGMA)
            moved = part.coordinates[atoms] + draw.standard_normal((atoms.stop - atoms.start, 3)) * sigma
            try:
                frames.append((part.numbers[atoms], moved, *single_point(part.numbers[atoms], moved)))
            except CalculationError:
                continue
    sizes = np.array([len(numbers) for numbers, *_ in frames], dtype=np.uint8)
    relaxed.write_chunk(
        target,
        {
            "sizes": sizes,
            "numbers": np.concatenate([numbers for numbers, *_ in frames]).astype(np.uint8),
            "coordinates": np.concatenate([moved for _, moved, *_ in frames]).astype(np.float32),
            "energy_ev": np.array([energy for *_, energy, _, _ in frames]),
            "forces_ev_per_angstrom": np.concatenate([forces for *_, forces, _ in frames]).astype(np.float32),
            "gap_ev": np.array([gap for *_, gap in frames]),
        },
    )
    return target


class Gfn2Source(Source):
    """All frames that are cached, in order."""

    name, title, licence, rank = "gfn2", "GFN2-xTB of displaced QM9 molecules", "Apache-2.0", 2
    origin = "computed by gapsmith data xtb with tblite"
    labels: Mapping[str, Label] = {
        "gfn2_gap": Label("eV", METHOD, least=0.0),
        "gfn2_energy": Label("eV", METHOD, "extensive"),
        "gfn2_forces": Label("eV/angstrom", METHOD, "forces"),
    }
    advice = relaxed.Qm9Gfn2Source.advice

    def load(self, split: str) -> Molecules | None:
        """What is cached; None if nothing is."""
        chunks = [load_file(str(file)) for file in sorted(folder(split).glob("*.safetensors"))]
        if not chunks:
            return None
        whole = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
        return Molecules(
            np.concatenate([[0], np.cumsum(whole["sizes"], dtype=np.int64)]),
            whole["numbers"],
            whole["coordinates"],
            {"gfn2_gap": whole["gap_ev"], "gfn2_energy": whole["energy_ev"]},
            {"gfn2_forces": whole["forces_ev_per_angstrom"]},
        )
