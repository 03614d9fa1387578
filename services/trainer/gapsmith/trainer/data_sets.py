"""Imported data sets as a training sees them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.data import imported
from gapsmith.data.sources import SPLITS, find
from gapsmith.trainer.settings import TrainerSettings

if TYPE_CHECKING:  # it needs torch, which the service does without
    from gapsmith.training.protocol import LabelledGeometry

LEAST_STEPS, MOST_STEPS, EPOCHS = 300, 6000, 30
LEARNING_RATE: Final = 1e-3  # of heads of their own


def heads(names: Sequence[str]) -> list[str]:
    """Heads that learn from the sets, each once; raises NotFound."""
    return list(dict.fromkeys(imported.card(name)["head"] for name in names))


def recipe(names: Sequence[str], trainer: TrainerSettings) -> dict[str, Any]:
    """How the sets alone are learned, as fields of a job; raises NotFound or DataError.

    Heads of their own learn quickly while all else stays as it is, so that nothing needs replay. Labels of a level that the
    model has a head of go through fine-tuning like those of a campaign.
    """
    own, labels = all(imported.AT in head for head in heads(names)), len(labelled(names, "train"))
    return {
        "data": tuple(dict.fromkeys(names)),
        "training_labels": 0,
        "held_out_labels": 0,
        "steps": min(MOST_STEPS, max(LEAST_STEPS, math.ceil(EPOCHS * labels / trainer.batch_size))),
        "replay_fraction": 0.0 if own else trainer.replay_fraction,
        "learning_rate": LEARNING_RATE if own else trainer.learning_rate,
        "tuned": "own" if own else "all",
    }


def labelled(names: Sequence[str], split: str) -> "list[LabelledGeometry]":
    """Molecules of a split of all sets, with the label of their head; raises NotFound or DataError."""
    from gapsmith.training.protocol import LabelledGeometry

    found = []
    for name in names:
        one, head = imported.load(name), imported.card(name)["head"]
        part, values = one.molecules, one.molecules.graph[head]
        for place in (one.splits == SPLITS.index(split)).nonzero()[0]:
            atoms = slice(int(part.offsets[place]), int(part.offsets[place + 1]))
            found.append(
                LabelledGeometry(part.numbers[atoms], part.coordinates[atoms], target(head, float(values[place])))
            )
    return found


def target(head: str, value: float) -> dict[str, float]:
    """A label as fine-tuning takes it."""
    from gapsmith.core import properties

    return {head if imported.AT in head else properties.get(head).column: value}


def domain(before: ModelDomain, names: Sequence[str]) -> ModelDomain:
    """A model's domain with the properties that the sets add."""
    found = dict(before.properties)
    for name in names:
        card, values = imported.card(name), imported.load(name).molecules
        head = card["head"]
        if head not in found:
            label = imported.label_of(card["property"], card["theory"])
            low, high = float(values.graph[head].min()), float(values.graph[head].max())
            found[head] = KnownProperty(label.level, label.unit, low, high)
    return replace(before, properties=found)


def with_sources(before: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """What a card says of the sources, with the sets, each once."""
    own = []
    for name in names:
        source = find(f"imported:{name}")
        if (molecules := source.load("train")) is not None:
            own.append(source.about("train", molecules))
    known = {one["name"] for one in own}
    return [*(one for one in before if one["name"] not in known), *own]
