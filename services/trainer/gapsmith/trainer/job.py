"""A training as files in one folder: ``job.json`` asks, ``progress.json`` tells, ``result.json`` answers."""

from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from gapsmith.core.errors import DataError
from gapsmith.trainer.gate import Scores
from gapsmith.trainer.outliers import SetAside
from gapsmith.training.files import write_atomically
from gapsmith.training.judging import Metric


class Document(BaseModel):
    """A JSON file that is there whole or not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def write(self, path: Path) -> None:
        """Write it, atomically."""
        write_atomically(path, self.model_dump_json(indent=2).encode())


class Job(Document):
    """What is to be trained on what."""

    role: str  # of trainable
    property: str = "gap"  # that the campaign wants: what the models are judged by
    data: tuple[str, ...] = ()  # imported data sets to learn from
    parent_id: UUID | None  # None of weights that no database knows
    parent_weights: Path
    parent_sha256: str
    model_id: UUID  # of the model that comes out
    weights: Path  # where it goes
    training_labels: int  # the oldest, to train on; none: of the data sets alone, which judge then, too
    held_out_labels: int  # the newest, to judge by
    steps: int
    batch_size: int  # of all processes together
    replay_fraction: float
    learning_rate: float
    tuned: Literal["all", "heads", "own"] = "all"
    base_molecules: int
    seed: int
    processes: int
    warnings: tuple[str, ...] = ()  # what was not done as it was asked for
    device: str = "cpu"
    nice: int = 0


class Progress(Document):
    """Where a training is."""

    step: int
    steps: int
    elapsed_s: float
    losses: dict[str, float]
    rate: float | None = None  # learning rate
    samples_per_s: float | None = None  # of all processes together


class Result(Document):
    """What came out of a training."""

    sha256: str  # of the weights
    steps: int
    skipped: int
    elapsed_s: float
    processes: int
    fingerprints: tuple[tuple[float, float], ...]  # of the parameters on each rank: all the same
    losses: dict[str, float]
    set_aside: tuple[SetAside, ...] = ()  # labels that were outliers
    judged_by: tuple[Metric, ...]
    candidate: Scores
    live: Scores
    metrics: dict[str, Any]  # the candidate's, on the base set and on the held-out labels


class Folder:
    """The files of one training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job = path / "job.json"
        self.labels = path / "labels.safetensors"
        self.state = path / "state"
        self.progress = path / "progress.json"
        self.result = path / "result.json"
        self.stop = path / "stop"  # while it exists, the processes save and end


D = TypeVar("D", bound=Document)


def read(document: type[D], path: Path) -> D:
    """Read a document; raises DataError if it is missing or damaged."""
    try:
        return document.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} is no {document.__name__.lower()} of a training: {error}") from error
