"""Small molecules outside QM9 with DFT labels, shipped with the package: what networks are fine-tuned and calibrated beside.

They are those of the label sets ``generated`` and ``mutated``, with GFN2-xTB's electronic structure; ``factory.shipping``
writes them.
"""

from dataclasses import fields
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import load_file, save_file

from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.data.electronic_records import ElectronicRecords
from gapsmith.data.label_set_source import labels_at
from gapsmith.data.label_sets import in_angstrom, in_steps
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import SPLITS, Source

FOLDER: Final = Path(__file__).parent / "shipped"
LEVEL: Final = "B3LYP/6-31G(2df,p)"
GRAPH: Final = "graph."
NODE: Final = "node."
SEEN: Final = "gfn2."


class OutsideQm9(Source):
    """Molecules that a campaign may meet and QM9 lacks: H C N O F, at most nine heavy atoms, at GFN2-xTB geometries."""

    name, title, rank = "outside_qm9", "Small molecules outside QM9", 1
    origin, licence = "gapsmith data make generated, mutated", "Apache-2.0"
    labels = labels_at(LEVEL)

    def load(self, split: str) -> Molecules | None:
        """Molecules with labels and GFN2-xTB's electronic structure."""
        return read(file(split))


def file(split: str) -> Path:
    """Where a split is; raises InputError if there is no such split."""
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}{hint(split, SPLITS)}")
    return FOLDER / f"outside_qm9-{split}.safetensors"


def write(path: Path, molecules: Molecules) -> None:
    """Write molecules with their electronic structure; geometries must be multiples of 0.5 mÅ, as in label sets."""
    assert molecules.electronic is not None
    steps = [
        in_steps(molecules.coordinates[start:stop])
        for start, stop in zip(molecules.offsets[:-1], molecules.offsets[1:], strict=True)
    ]
    tensors = {
        "sizes": molecules.sizes.astype(np.uint8),
        "numbers": molecules.numbers.astype(np.uint8),
        "coordinates": np.concatenate(steps),
        **{GRAPH + name: values.astype(np.float32) for name, values in molecules.graph.items()},
        **{NODE + name: values.astype(np.float32) for name, values in molecules.node.items()},
        **{SEEN + name: values for name, values in molecules.electronic.arrays().items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, str(path))


def read(path: Path) -> Molecules:
    """Inverse of ``write``."""
    found = load_file(str(path))
    return Molecules(
        np.concatenate([[0], np.cumsum(found["sizes"], dtype=np.int64)]),
        found["numbers"],
        in_angstrom(found["coordinates"]).astype(np.float32),
        {name.removeprefix(GRAPH): x.astype(np.float64) for name, x in found.items() if name.startswith(GRAPH)},
        {name.removeprefix(NODE): x for name, x in found.items() if name.startswith(NODE)},
        ElectronicRecords(**{one.name: found[SEEN + one.name] for one in fields(ElectronicRecords)}),
    )
