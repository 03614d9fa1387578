"""What a base training is to do, as a JSON file in its folder. Plain dataclasses: needs nothing beyond torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from gapsmith.core import documents
from gapsmith.core.errors import DataError, InputError
from gapsmith.training.files import write_atomically
from gapsmith.training.loop import TrainingPlan
from gapsmith.training.protocol import BaseOptions, Recipe, Storage

Scaling = Literal["none", "sqrt", "linear"]


class Paths:
    """The files of a base training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.assignment = folder / "assignment.json"
        self.state = folder / "state"
        self.progress = folder / "progress.json"
        self.metrics = folder / "metrics"
        self.energy = folder / "energy"
        self.stop = folder / "stop"  # while it exists, the processes save and end
        self.log = folder / "log"

    def weights(self, role: str, seed: int) -> Path:
        """What comes out."""
        return self.folder / f"{role}-{seed}.safetensors"


@dataclass(frozen=True)
class Assignment:
    """A base training."""

    architecture: str  # entry point of the group gapsmith.trainables, or module:class
    id: str = ""  # of the run in the database
    config: dict[str, Any] | None = None  # the architecture's own if None
    steps: int | None = None
    time_budget_s: float | None = None  # all resumed runs together
    processes: int = 1
    scaling: Scaling = (
        "none"  # none: one batch for all ranks; else a batch for each, and the rate times this of their number
    )
    accumulate: int = 1  # batches of a step
    seed: int = 0
    split: str | None = None
    molecules: int | None = None
    device: str = "cpu"
    compiled: bool = False
    full_precision: bool = False
    start: str | None = None
    contrast: str | None = None
    storage: Storage = "memory"
    replicas: int = 1
    save_every_s: float = 120.0
    look_every_s: float = 120.0

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Assignment":
        """Out of JSON; raises InputError naming an unknown key."""
        known = [field.name for field in fields(cls)]
        if wrong := sorted(found.keys() - set(known)):
            raise InputError(f"a training has no {', '.join(wrong)}; it has {', '.join(known)}")
        if "architecture" not in found:
            raise InputError("a training needs an architecture, for example equivariant_gnn")
        return cls(**found)

    @classmethod
    def read(cls, paths: Paths) -> "Assignment":
        """Out of a run's folder; raises DataError if it is missing or damaged."""
        try:
            found = documents.read(paths.assignment)
        except InputError as error:
            raise DataError(
                f"{paths.assignment} does not say what training this is ({error}): begin it again"
            ) from error
        return cls.of(found)

    def write(self, paths: Paths) -> None:
        """Into a run's folder."""
        write_atomically(paths.assignment, json.dumps(asdict(self), indent=2).encode())

    def options(self, paths: Paths) -> BaseOptions:
        """What the architecture is to know."""
        return BaseOptions(
            split=self.split,
            molecules=self.molecules,
            seed=self.seed,
            device=self.device,
            compiled=self.compiled,
            full_precision=self.full_precision,
            start=None if self.start is None else Path(self.start),
            contrast=None if self.contrast is None else Path(self.contrast),
            storage=self.storage,
            replicas=self.replicas,
            shards=paths.folder / "shards",
        )

    def batch_size(self, recipe: Recipe) -> int:
        """Molecules of a batch of all ranks together."""
        return recipe.batch_size * (1 if self.scaling == "none" else self.processes)

    def plan(self, recipe: Recipe) -> TrainingPlan:
        """How to train. The rate warms up to that of the larger batch (Goyal et al., 2017: linear in its size)."""
        more = self.batch_size(recipe) * self.accumulate / recipe.batch_size
        factor = {"none": 1.0, "sqrt": math.sqrt(more), "linear": more}[self.scaling]
        return TrainingPlan(
            steps=self.steps,
            time_budget_s=self.time_budget_s,
            optimizer=recipe.optimizer,
            learning_rate=recipe.learning_rate * factor,
            warmup_steps=recipe.warmup_steps,
            weight_decay=recipe.weight_decay,
            ema_decay=recipe.ema_decay,
            accumulate=self.accumulate,
            seed=self.seed,
            save_every_s=self.save_every_s,
        )
