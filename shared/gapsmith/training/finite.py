"""Steps whose gradient is not finite are left out, without the host waiting to hear of it."""

from typing import Any, cast

import torch
from torch import Tensor

from gapsmith.core.errors import InputError

MOST_SKIPPED = 20  # steps in a row
CHECK_EVERY = 16  # steps between two looks on a GPU, each of which waits for it


class FiniteSteps:
    """Counts on the device of the steps that were left out."""

    def __init__(self) -> None:
        self._skipped: Tensor | None = None
        self._in_a_row: Tensor | None = None

    def step(self, optimizer: torch.optim.Optimizer, norm: Tensor) -> None:
        """Step a fused optimizer unless the gradient's norm is not finite: it reads that itself, as for mixed precision."""
        broken = (~torch.isfinite(norm)).float()
        cast(Any, optimizer).found_inf = broken
        optimizer.step()
        self._skipped = broken if self._skipped is None else self._skipped + broken
        self._in_a_row = broken if self._in_a_row is None else (self._in_a_row + 1) * broken

    @property
    def skipped(self) -> int:
        """How many so far."""
        return 0 if self._skipped is None else int(self._skipped)

    def check(self, step: int) -> None:
        """Raise InputError if too many steps in a row were left out."""
        if self._in_a_row is not None and int(self._in_a_row) >= MOST_SKIPPED:
            raise InputError(f"the loss is not finite for {MOST_SKIPPED} steps in a row at step {step}")
