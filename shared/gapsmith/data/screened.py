"""Which of QM9's molecules a campaign's constraints allow."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from gapsmith.core import children
from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.elements import NUMBERS
from gapsmith.core.chemistry.screening import child_screened
from gapsmith.core.chemistry.substructure import ONE_S
from gapsmith.data import qm9
from gapsmith.data.qm9 import QM9

AT_ONCE: Final = 250  # molecules of a call


@dataclass(frozen=True)
class Screened:
    """What came of some molecules."""

    allowed: np.ndarray  # indices in QM9, in the order that was asked for
    looked_at: int  # of the molecules that were given, before there were enough or the time was up


def fitting(data: QM9, constraints: Constraints) -> np.ndarray:
    """Which molecules have allowed elements and sizes, (molecules,) bool."""
    starts = data.offsets[:-1]
    heavy = np.add.reduceat(data.numbers > 1, starts)
    fits = np.ones(len(data), dtype=bool)
    if constraints.elements is not None:
        known = [1, *(NUMBERS[element] for element in constraints.elements)]
        fits &= np.add.reduceat(~np.isin(data.numbers, known), starts) == 0
    if constraints.heavy_atoms is not None:
        fewest, most = constraints.heavy_atoms
        fits &= (heavy >= fewest) & (heavy <= most)
    return fits


def screened(constraints: Constraints, indices: Sequence[int], *, enough: int, seconds: float) -> Screened:
    """Screen molecules of QM9 in a child process until there are enough or the time is up.

    Args:
        constraints: of a campaign; whether a molecule is novel is not asked.
        indices: in QM9, in the order in which to look.
        enough: allowed molecules after which no more are looked at.
        seconds: CPU time.
    """
    lines, limits = _inchis(), constraints.model_dump(mode="json")
    allowed: list[int] = []
    looked_at, left = 0, seconds
    while looked_at < len(indices) and len(allowed) < enough and left > 0:
        chunk = [int(index) for index in indices[looked_at : looked_at + AT_ONCE]]
        started = time.monotonic()
        try:
            verdicts = children.call(child_screened, [lines[i] for i in chunk], limits, left, seconds=left + ONE_S)
        except children.Overrun:
            break
        left -= time.monotonic() - started
        looked_at += len(verdicts)
        allowed += [index for index, verdict in zip(chunk, verdicts, strict=False) if verdict is None]
    return Screened(np.array(allowed[:enough], dtype=np.int64), looked_at)


@cache
def _inchis() -> list[str]:
    return qm9.identifiers().read_text().splitlines()
