"""Labels: how many are held out, and the file that is all a training's processes see of them."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from gapsmith.core.errors import DataError
from gapsmith.store.labels import TARGETS, Label
from gapsmith.training.files import write_atomically

LEAST_TRAINING = 3
MOST_REPEATS = 40  # of a label in a training; more, and a dozen labels drive out what QM9 taught
LEAST_HELD_OUT = 3
HELD_OUT_FRACTION = 0.25
MOST_HELD_OUT = 48  # more would take the gate longer than half a minute, and teach it little


def held_out(labels: int) -> int:
    """How many of the newest labels the training never sees; 0 if there are too few to train on and to judge by."""
    wanted = min(MOST_HELD_OUT, max(LEAST_HELD_OUT, round(labels * HELD_OUT_FRACTION)))
    return wanted if labels - wanted >= LEAST_TRAINING else 0


def replayed(wanted: float, *, labels: int, seen: int) -> float:
    """Share of QM9 in every batch: what is wanted, or more if the few labels would be seen too often.

    Args:
        wanted: share; 0 stays 0.
        labels: to train on.
        seen: molecules of all steps together.
    """
    return max(wanted, 1 - MOST_REPEATS * labels / seen) if wanted else wanted


def write(path: Path, labels: Sequence[Label]) -> None:
    """Write labels, atomically."""
    sizes = [len(label.numbers) for label in labels]
    rows = [[label.targets.get(name, np.nan) for name in TARGETS] for label in labels]
    calculations = b"".join(label.calculation_id.bytes for label in labels)
    tensors: dict[str, np.ndarray] = {
        "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "numbers": np.concatenate([label.numbers for label in labels]).astype(np.uint8),
        "coordinates_angstrom": np.concatenate([label.coordinates for label in labels]).astype(np.float32),
        "targets": np.array(rows, dtype=np.float64),
        "confirmed": np.array([label.confirmed for label in labels], dtype=np.uint8),
        "calculations": np.frombuffer(calculations, np.uint8).reshape(-1, 16).copy(),
    }
    write_atomically(path, save(tensors))


def read(path: Path) -> list[Label]:
    """Read labels; raises DataError if the file is missing or damaged."""
    try:
        tensors = load_file(str(path))
        offsets = tensors["offsets"]
        return [
            Label(
                calculation_id=UUID(bytes=tensors["calculations"][index].tobytes()),
                numbers=tensors["numbers"][start:end],
                coordinates=tensors["coordinates_angstrom"][start:end],
                targets={name: float(x) for name, x in zip(TARGETS, row, strict=True) if np.isfinite(x)},
                confirmed=bool(tensors["confirmed"][index]),
            )
            for index, (start, end, row) in enumerate(zip(offsets, offsets[1:], tensors["targets"], strict=False))
        ]
    except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
        raise DataError(f"{path} holds no labels ({error!r}): delete its folder, and it is written again") from error
