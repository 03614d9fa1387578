"""Two models side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gapsmith.core.errors import InputError
from gapsmith.store.model_story import Entry
from gapsmith.training.model_metrics import (
    card_of,
    difference,
    labels_held_out,
    measured,
    numbers,
    of_card,
    scores,
    text,
)


@dataclass(frozen=True)
class Comparison:
    """Metrics of two models by name."""

    names: tuple[str, str]  # of the models
    first: dict[str, float]
    second: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, first: Entry, second: Entry) -> Self:
        """Compare; raises InputError for a model with itself, or models of different roles."""
        if first.id == second.id:
            raise InputError(f"{first.name} is compared with itself; name another one")
        if first.role != second.role:
            raise InputError(f"{first.name} and {second.name} are of different roles and have no metrics in common")
        ours, theirs = _metrics(first), _metrics(second)
        notes = []
        for child, parent, of_parent in ((second, first, ours), (first, second, theirs)):
            if child.parent_id == parent.id and (live := scores(child.metrics, "live")):
                of_parent.update(live)
                notes.append(
                    f"{parent.name}'s scores are those on the {labels_held_out(child.metrics)} labels held out "
                    f"from {child.name}"
                )
        if all(any(name.startswith("held_out") for name in measured(one.metrics)) for one in (first, second)):
            own = f"{labels_held_out(first.metrics)} and {labels_held_out(second.metrics)}"
            what = "held_out.* are" if notes else "held-out metrics are"
            notes.append(f"{what} on each model's own held-out labels ({own}) and say little about which one is better")
        return cls((first.name, second.name), ours, theirs, notes)


def _metrics(one: Entry) -> dict[str, float]:
    """What is stored, or for shipped weights what their card says."""
    training = one.metrics.get("training")
    facts = dict(numbers(training, "training.")) if isinstance(training, Mapping) else {}
    own = measured(one.metrics) or of_card(card_of(Path(one.path)))
    return {"labels": float(one.labels), **own, **facts}


def rows(found: Comparison, terminal: bool) -> list[dict[str, Any]]:
    """A line per metric, those that both have first."""
    return [
        {
            "metric": name,
            found.names[0]: _cell(found.first.get(name), terminal),
            found.names[1]: _cell(found.second.get(name), terminal),
            "difference": _difference(found, name, terminal),
        }
        for name in names(found)
    ]


def names(found: Comparison) -> list[str]:
    """Of all metrics, those that both models have first."""
    every = found.first.keys() | found.second.keys()
    both = found.first.keys() & found.second.keys()
    return sorted(every, key=lambda name: (name not in both, name))


def _cell(value: float | None, terminal: bool) -> str:
    return text(value) if terminal else "" if value is None else repr(value)


def _difference(found: Comparison, name: str, terminal: bool) -> str:
    first, second = found.first.get(name), found.second.get(name)
    if terminal or first is None or second is None:
        return difference(first, second)
    return repr(second - first)


def as_document(found: Comparison) -> dict[str, Any]:
    """For ``--json``."""
    metrics = {}
    for name in names(found):
        first, second = found.first.get(name), found.second.get(name)
        metrics[name] = {
            "a": first,
            "b": second,
            "difference": None if first is None or second is None else second - first,
        }
    return {"a": found.names[0], "b": found.names[1], "metrics": metrics, "notes": found.notes}
