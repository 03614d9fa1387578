"""From the parent to the candidate: load, calibrate, measure both beside each other, save."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.trainer import data_sets
from gapsmith.trainer import labels as label_files
from gapsmith.trainer.gate import Scores
from gapsmith.trainer.job import Folder, Job, Result
from gapsmith.trainer.outliers import SetAside
from gapsmith.training.checkpoint import load_weights, read_card, save_model
from gapsmith.training.files import sha256
from gapsmith.training.judging import Metric, judged_by
from gapsmith.training.loop import TrainingState
from gapsmith.training.protocol import LabelledGeometry, Trainable, extensible, trainable


class Labels(NamedTuple):
    """The labels of a training, oldest first."""

    training: Sequence[LabelledGeometry]
    held_out: Sequence[LabelledGeometry]  # newer than all of those
    set_aside: tuple[SetAside, ...] = ()  # outliers, in neither
    imported: Sequence[LabelledGeometry] = ()  # of data sets, to train on


@dataclass(frozen=True)
class Parent:
    """The live model that a training starts from."""

    job: Job
    trainable: Trainable
    card: dict[str, Any]

    @classmethod
    def of(cls, job: Job) -> "Parent":
        """The parent that the job names; raises CheckpointError if the file holds another model or is damaged."""
        card = read_card(job.parent_weights, role=job.role)
        if card["sha256"] != job.parent_sha256:
            raise CheckpointError(f"{job.parent_weights} is another model than the one registered as {job.parent_id}")
        return cls(job, trainable(card["architecture"]), card)

    def model(self) -> nn.Module:
        """The parent, loaded anew, with the heads that the job's data sets need."""
        if self.job.data:
            model = extensible(self.trainable).extended(self.job.parent_weights, self.card["config"], self.job.data)
        else:
            model = self.trainable.build(self.card["config"])
            load_weights(model, self.job.parent_weights)
        return model.to(self.job.device)

    @property
    def config(self) -> dict[str, Any]:
        """What the candidate is built of."""
        found: dict[str, Any] = self.card["config"]
        return extensible(self.trainable).widened(found, self.job.data) if self.job.data else found

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the gate compares."""
        if self.job.training_labels:
            return judged_by(self.trainable, self.job.property)
        kept = ModelDomain.of(self.card["domain"]).properties
        return judged_by(self.trainable, learned=data_sets.heads(self.job.data), kept=kept)

    @property
    def base_metrics(self) -> dict[str, float] | None:
        """What its own training measured on as many base molecules; None of a model that no gate has judged."""
        known = self.card["metrics"]["base"] if self.card.get("base_molecules") == self.job.base_molecules else {}
        return known if known.keys() >= {metric.name for metric in self.metrics if metric.on != "labels"} else None


def finish(
    folder: Folder,
    parent: Parent,
    model: nn.Module,
    state: TrainingState,
    labels: Labels,
    fingerprints: Sequence[Tensor],
) -> None:
    """Calibrate the candidate, measure it beside its parent, save it and the result."""
    job, started = parent.job, time.monotonic()
    facts, base_labels = parent.trainable.finish(model, labels.training), job.training_labels
    calibrated = time.monotonic()
    scores, base = measure(parent, model, labels.held_out)
    live, _ = measure(parent, parent.model(), labels.held_out, known=parent.base_metrics)
    metrics = {"base": base, "held_out": parent.trainable.evaluate_labels(model, labels.held_out)}
    if test := data_sets.labelled(job.data, "test"):
        metrics["test"] = parent.trainable.evaluate_labels(model, test)
    card = {
        **facts,
        "sources": data_sets.with_sources(parent.card.get("sources", []), job.data),
        "data": f"fine-tuned on {len(labels.training) + len(labels.imported)} labels, {job.replay_fraction:.0%} of each "
        "batch replayed base data",
        "parent": {"id": str(job.parent_id), "sha256": job.parent_sha256, "data": parent.card.get("data")},
        "labels": {
            "training": len(labels.training),
            "held_out": len(labels.held_out),
            "set_aside": [label.model_dump() for label in labels.set_aside],
            "imported": len(labels.imported),
            **_calculations(folder, base_labels),
        },
        **job.model_dump(include={"batch_size", "learning_rate", "tuned", "seed", "processes", "warnings"}),
        "steps": state.step,
        "wall_s": round(state.elapsed_s, 1),
        "torch": torch.__version__,
        "metrics": metrics,
        "base_molecules": job.base_molecules,
    }
    whole = save_model(
        job.weights,
        model,
        role=job.role,
        architecture=parent.card["architecture"],
        domain=data_sets.domain(ModelDomain.of(parent.card["domain"]), job.data).including(
            label.numbers for label in (*labels.training, *labels.imported)
        ),
        config=parent.config,
        card=card,
    )
    Result(
        sha256=whole["sha256"],
        steps=state.step,
        skipped=state.skipped,
        elapsed_s=state.elapsed_s,
        processes=job.processes,
        fingerprints=tuple((float(x[0]), float(x[1])) for x in fingerprints),
        losses=state.losses,
        set_aside=labels.set_aside,
        judged_by=parent.metrics,
        candidate=scores,
        live=live,
        metrics=metrics,
    ).write(folder.result)
    took_s = calibrated - started, time.monotonic() - calibrated
    print(f"calibrated in {took_s[0]:.1f} s, measured beside the live model and saved in {took_s[1]:.1f} s", flush=True)


def _calculations(folder: Folder, labels: int) -> dict[str, Any]:
    """Which calculations the labels are."""
    if not labels:
        return {}
    calculations = [str(label.calculation_id) for label in label_files.read(folder.labels)]
    return {"calculations": calculations, "sha256": sha256(folder.labels)}


def measure(
    parent: Parent,
    model: nn.Module,
    held_out: Sequence[LabelledGeometry],
    known: dict[str, float] | None = None,
) -> tuple[Scores, dict[str, float]]:
    """What the gate needs of a model, and all metrics on the base data (measured here, unless they are known).

    Labels of which the model can say nothing, such as molecules whose bonds cannot be told, are left out.

    Raises:
        InputError: the architecture does not measure what it is judged by, or no label is left.
    """
    model.eval()
    trainable, job = parent.trainable, parent.job
    on_base, on_labels = ([x.name for x in parent.metrics if x.on in ("both", part)] for part in ("base", "labels"))
    base = known or trainable.evaluate(model, limit=job.base_molecules, device=job.device)
    each = [found for label in held_out if (found := trainable.evaluate_labels(model, [label]))]
    if not each:
        raise InputError(f"the {job.role} can be judged by none of {len(held_out)} held-out labels")
    for found, wanted in ((base, on_base), *((one, on_labels) for one in each)):
        if missing := set(wanted) - found.keys():
            raise InputError(f"the {job.role} has no {', '.join(sorted(missing))} to be judged by")
    scores = Scores(
        base={name: base[name] for name in on_base},
        labels={name: tuple(found[name] for found in each) for name in on_labels},
    )
    return scores, base
