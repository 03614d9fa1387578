"""What a model is measured by before the gate sees it."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from torch import nn

from gapsmith.core.errors import InputError
from gapsmith.trainer.candidate import Parent, measure
from gapsmith.trainer.job import Job
from gapsmith.training.judging import Metric
from gapsmith.training.protocol import LabelledGeometry, Trainable

JOB = Job(
    role="weights",
    parent_id=UUID(int=1),
    parent_weights=Path("parent"),
    parent_sha256="",
    model_id=UUID(int=2),
    weights=Path("candidate"),
    training_labels=3,
    held_out_labels=3,
    steps=1,
    batch_size=1,
    replay_fraction=0.5,
    learning_rate=1e-3,
    base_molecules=7,
    seed=0,
    processes=1,
)


class Weights:
    """A model of the number of atoms, which knows nothing of molecules without carbon."""

    judged_by: tuple[Metric, ...] = (Metric(name="loss", title="loss", base_margin=0.1, label_cap=0.1),)

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        return {"loss": float(limit or 0), "other": 1.0}

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        known = [len(label.numbers) for label in labels if 6 in label.numbers]
        return {"loss": float(np.mean(known)), "other": 2.0} if known else {}


def label(*numbers: int) -> LabelledGeometry:
    return LabelledGeometry(np.array(numbers, np.uint8), np.zeros((len(numbers), 3), np.float32), {"gap_ev": 1.0})


def measured(kind: object, *labels: LabelledGeometry) -> Any:
    return measure(Parent(JOB, cast(Trainable, kind), {}), nn.Linear(1, 1), labels)


def test_each_label_counts_once_and_unknown_ones_not_at_all() -> None:
    scores, base = measured(Weights(), label(6, 1), label(8), label(6, 6, 8, 1))
    assert scores.base == {"loss": 7.0}
    assert scores.labels == {"loss": (2.0, 4.0)}
    assert base == {"loss": 7.0, "other": 1.0}


def test_labels_of_which_nothing_is_known_cannot_judge() -> None:
    with pytest.raises(InputError, match="the weights can be judged by none of 2 held-out labels"):
        measured(Weights(), label(8), label(9))


def test_a_kind_must_measure_what_it_declares() -> None:
    class Boastful(Weights):
        judged_by = (Metric(name="beauty", title="beauty", base_margin=0.1, label_cap=0.1),)

    with pytest.raises(InputError, match="the weights has no beauty to be judged by"):
        measured(Boastful(), label(6))
    with pytest.raises(InputError, match="does not say what its models are judged by"):
        measured(SimpleNamespace(), label(6))


@pytest.mark.parametrize(("molecules", "expected"), [(7, {"loss": 0.5}), (8, None), (None, None)])
def test_a_model_that_was_judged_on_as_many_base_molecules_is_not_measured_on_them_again(
    molecules: int | None, expected: dict[str, float] | None
) -> None:
    card = {"metrics": {"base": {"loss": 0.5}}, "base_molecules": molecules}
    parent = Parent(JOB, cast(Trainable, Weights()), card)
    assert parent.base_metrics == expected
    scores, _ = measure(parent, nn.Linear(1, 1), [label(6)], known=parent.base_metrics)
    assert scores.base == (expected or {"loss": 7.0})
