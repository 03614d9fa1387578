"""Steps whose gradient is not finite are left out and lower the learning rate, without the host waiting to hear of it."""

import math
from typing import Any, cast

import torch
from torch import Tensor

from gapsmith.core.errors import InputError

MOST_SKIPPED = 20  # steps in a row
CHECK_EVERY = 16  # steps between two looks on a GPU, each of which waits for it
RECOVERY = 100  # good steps after which a lowered learning rate is doubled again


class FiniteSteps:
    """Counts on the device of the steps that were left out."""

    def __init__(self, step: int = 0, halvings: float = 0.0) -> None:
        """``halvings`` of the learning rate that are in force, of a run that goes on at ``step``."""
        self.halvings, self._seen, self._looked = halvings, 0, step - 1
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

    @property
    def factor(self) -> float:
        """What the learning rate is to be multiplied by."""
        return float(0.5 ** math.ceil(self.halvings))

    def check(self, step: int) -> None:
        """Halve the learning rate if steps were left out since the last look; raises InputError after too many in a row."""
        if self._in_a_row is not None and int(self._in_a_row) >= MOST_SKIPPED:
            raise InputError(
                f"the loss is not finite for {MOST_SKIPPED} steps in a row at step {step}, for all that the learning rate "
                "was lowered: the last good weights are kept; look at the data, or begin with a lower rate"
            )
        if self.skipped > self._seen:
            self.halvings = math.ceil(self.halvings) + 1.0
        elif self.halvings:
            self.halvings = max(0.0, self.halvings - (step - self._looked) / RECOVERY)
        self._seen, self._looked = self.skipped, step
