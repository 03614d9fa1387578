"""Write what is shipped of label sets: ``python -m gapsmith.factory.shipping shared/labels/generated ...``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gapsmith.core.terminal import echo
from gapsmith.data import outside_qm9
from gapsmith.data.label_set_source import LabelSetSource
from gapsmith.data.molecules import Molecules, joined
from gapsmith.data.sources import SPLITS


def ship(folders: Sequence[Path], split: str) -> Molecules:
    """A split's labelled molecules of all sets, each once, with GFN2-xTB's electronic structure.

    Args:
        folders: of label sets, in the order in which they count where two have the same molecule.
        split: which part.
    """
    known: set[str] = set()
    parts = []
    for folder in folders:
        source = LabelSetSource(str(folder))
        keys, molecules = source.keys(split), source.load(split)
        if molecules is not None:
            parts.append(molecules.take(np.flatnonzero([key not in known for key in keys])))
        known.update(keys)
    return joined(parts).seen()


def main(folders: Sequence[str]) -> None:
    """Write all splits."""
    for split in SPLITS:
        molecules, target = ship([Path(folder) for folder in folders], split), outside_qm9.file(split)
        outside_qm9.write(target, molecules)
        echo(f"{target}: {len(molecules)} molecules, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
