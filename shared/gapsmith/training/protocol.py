"""What an architecture must provide: to be trained, and to be used by the service of its role.

An architecture is registered as a ``Trainable`` under the entry-point group ``gapsmith.trainables``. Every card names
the role of its model (generator, surrogate) and its architecture, so that trainer and services find the class by name
and several architectures of a role can be installed, of which one is live.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from torch import Tensor, nn

from gapsmith.core.documents import shown
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.training.card import read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.judging import Metric

ENTRY_POINT_GROUP = "gapsmith.trainables"
Tuned = Literal["all", "heads", "own"]
Storage = Literal["memory", "distributed", "disk"]


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


@dataclass(frozen=True)
class Recipe:
    """What a configuration says of how its model is trained."""

    batch_size: int  # of all ranks together
    optimizer: str
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    ema_decay: float

    @classmethod
    def of(cls, section: Mapping[str, Any], where: str) -> "Recipe":
        """A section of a configuration with just these keys; raises InputError naming what is wrong."""
        if wrong := sorted(section.keys() ^ cls.__dataclass_fields__.keys()):
            raise InputError(
                f"{where}: {', '.join(wrong)} unknown or missing; keys: {', '.join(cls.__dataclass_fields__)}"
            )
        for key, value in section.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
            if key != "optimizer" and not number:
                raise InputError(f"{where}.{key} must be a number, at least 0, got {value!r}")
        whole = {key: int(section[key]) for key in ("batch_size", "warmup_steps")}
        if whole["batch_size"] < 1 or section["learning_rate"] == 0 or section["ema_decay"] >= 1:
            raise InputError(
                f"{where}: batch_size and learning_rate must be above 0, ema_decay below 1: {dict(section)}"
            )
        return cls(**{**section, **whole})


@dataclass(frozen=True)
class BaseOptions:
    """What is asked of a base training beside its configuration."""

    split: str | None = None  # of the base data; the architecture's own if None
    molecules: int | None = None  # only so many of every source, to try things out
    seed: int = 0
    device: str = "cpu"
    compiled: bool = False
    full_precision: bool = False  # no bfloat16 or TF32 on a GPU
    start: Path | None = None  # weights to begin with instead of random ones
    contrast: Path | None = None  # weights of a network to compare predictions with, kept as they are
    storage: Storage = "memory"  # of the base data; distributed: spread over the ranks' memory
    replicas: int = 1  # of the whole that distributed ranks hold together
    shards: Path | None = None  # folder for the base data as shards, for all but memory


class BaseTraining(Protocol):
    """A training on the base data, ready to begin."""

    config: dict[str, Any]  # what the model was built of, for its card
    recipe: Recipe

    @property
    def model(self) -> nn.Module:
        """The model, on its device."""
        ...

    def source(self, group: Communicator, *, batch_size: int) -> BatchSource:
        """The training data; every rank at once."""
        ...

    def look(self) -> dict[str, float]:
        """Some metrics on molecules that are not trained on, in seconds."""
        ...

    def finish(self) -> dict[str, Any]:
        """Calibrate and measure the trained model; what is returned goes into its card."""
        ...

    def domain(self) -> ModelDomain:
        """Elements, sizes and properties of the training data; after ``source``."""
        ...


class Trainable(Protocol):
    """An architecture that the training loop can train, from nothing or further, and that its role's service uses."""

    role: str  # what its models are for: generator or surrogate
    architecture: str  # the name of its entry point
    judged_by: tuple[Metric, ...]  # what the promotion gate compares

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new model with random weights; raises InputError on unknown or missing keys."""
        ...

    def load(self, weights: Path, *, device: str = "cpu") -> Any:
        """A trained model as the service of its role uses it (``gapsmith.training.roles``); raises CheckpointError."""
        ...

    def default_config(self) -> dict[str, Any]:
        """The configuration of a base training of the shipped size."""
        ...

    def base_training(self, config: Mapping[str, Any], options: BaseOptions) -> BaseTraining:
        """Prepare a training on the base data (QM9 and others).

        Raises:
            InputError: a key of the configuration or an option is unknown, missing or impossible.
            DataError: data of a source is missing.
            CheckpointError: the weights to start with are damaged or do not fit.
        """
        ...

    def fine_tuning_source(
        self,
        model: nn.Module,
        labels: Sequence[Sequence[LabelledGeometry]],
        *,
        batch_size: int,
        replay_fraction: float,
        seed: int,
        device: str,
    ) -> BatchSource:
        """New labels mixed with a replay of the base data (``replay_fraction`` of every batch).

        Groups of labels, such as a campaign's and an imported data set's, have equal shares of the rest.
        """
        ...

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """Leave all weights, those of the last layers ("heads"), or those that data sets added ("own") to be trained."""
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


@runtime_checkable
class Extensible(Protocol):
    """An architecture that learns from imported data sets, each with a head of its own."""

    def widened(self, config: Mapping[str, Any], data: Sequence[str]) -> dict[str, Any]:
        """A model's configuration with all that it takes to learn from imported data sets, too.

        Raises:
            InputError: there is no such set.
        """
        ...

    def extended(self, weights: Path, config: Mapping[str, Any], data: Sequence[str]) -> nn.Module:
        """A trained model of that widened configuration, which still predicts what it did; raises InputError."""
        ...


def extensible(architecture: Trainable) -> Extensible:
    """The same, if it learns from imported data sets; raises InputError."""
    if not isinstance(architecture, Extensible):
        raise InputError(f"a {architecture.role} does not learn from imported data sets; the surrogate does")
    return architecture


def trainable(architecture: str) -> Trainable:
    """The architecture that is registered by that name, or by its ``module:class``.

    Where nothing is installed and so nothing registered, ``module:class`` may name one of this package.

    Raises:
        InputError: there is none; the known ones are named.
    """
    points = entry_points(group=ENTRY_POINT_GROUP)
    for point in points:
        if architecture in (point.name, point.value):
            return cast(Trainable, point.load()())
    if not points and ":" in architecture and architecture.startswith("gapsmith."):
        try:
            return cast(Trainable, EntryPoint(architecture, architecture, ENTRY_POINT_GROUP).load()())
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{shown(architecture)} cannot be loaded as a trainable model: {error}") from error
    known = ", ".join(sorted(point.name for point in points)) or "none"
    raise InputError(f"no architecture is called {shown(architecture)}; known: {known}")


def loaded(weights: Path, *, role: str, device: str = "cpu") -> Any:
    """A model as the service of its role uses it, by the architecture that its card names.

    Raises:
        CheckpointError: a file is missing or damaged, has another role, or does not fit its architecture.
        InputError: its architecture is not installed.
    """
    return trainable(read_card(weights, role=role)["architecture"]).load(weights, device=device)
