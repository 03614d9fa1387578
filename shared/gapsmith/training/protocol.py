"""What the training loop needs of a kind of model, and nothing else.

The generator and the surrogate register a ``Trainable`` under the entry-point group ``gapsmith.trainables``; the
trainer finds them by name, so it imports neither service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol, cast

import numpy as np
from torch import Tensor, nn

from gapsmith.core.errors import InputError

ENTRY_POINT_GROUP = "gapsmith.trainables"
Tuned = Literal["all", "heads"]


@dataclass(frozen=True)
class LabelledGeometry:
    """One molecule with its label, as a campaign produces it."""

    numbers: np.ndarray  # (atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom: the geometry that the surrogate sees
    targets: Mapping[str, float]  # by property name with unit, e.g. {"gap_ev": 4.1}


class BatchSource(Protocol):
    """Random access to training batches: a pure function of the step, so that a run resumes exactly."""

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Any:
        """The share of one rank of the global batch of a step; all ranks' shares together are that batch."""
        ...


class Trainable(Protocol):
    """A kind of model that the training loop can train, from nothing or further."""

    kind: str

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new model with random weights; raises InputError on unknown or missing keys."""
        ...

    def default_config(self) -> dict[str, Any]:
        """The configuration of the shipped size."""
        ...

    def base_source(self, *, batch_size: int, seed: int, device: str) -> BatchSource:
        """Training split of the base data (QM9)."""
        ...

    def fine_tuning_source(
        self, labels: Sequence[LabelledGeometry], *, batch_size: int, replay_fraction: float, seed: int, device: str
    ) -> BatchSource:
        """New labels mixed with a replay of the base data (``replay_fraction`` of every batch)."""
        ...

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """Leave all weights or those of the last layers ("heads") to be trained further, in place."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Named losses; ``"loss"`` is the one to minimise. May draw from torch's global generator."""
        ...

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """Metrics on the base data's validation split, names with units; ``limit`` is a number of molecules."""
        ...

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """The same metrics on labelled molecules."""
        ...

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """After training: recalibration and the like, in place; what it returns goes into the model's card."""
        ...


def trainable(kind: str) -> Trainable:
    """The registered trainable of that kind; raises InputError naming the known ones."""
    found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if kind not in found:
        raise InputError(f"no trainable model is called {kind!r}; known: {', '.join(sorted(found)) or 'none'}")
    return cast(Trainable, found[kind].load()())
