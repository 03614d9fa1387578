"""The metrics of a model as named numbers: what was measured of it, of the one it was to replace, and its training."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gapsmith.core import documents
from gapsmith.core.errors import InputError
from gapsmith.training.files import card_path

APART: Final = (
    "candidate",
    "live",
    "training",
    "warnings",
)  # parts of the stored metrics that are not its own measures
HELD_OUT: Final = "held_out_"  # what the names of scores on held-out labels, a number each, begin with


def measured(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What was measured of a model itself: the gate's scores, then all others."""
    return {**scores(metrics, "candidate"), **others(metrics)}


def others(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What was measured of a model beside the gate's scores."""
    return dict(numbers({name: value for name, value in metrics.items() if name not in APART}))


def scores(metrics: Mapping[str, Any], whose: str) -> dict[str, float]:
    """The gate's scores of the ``candidate``, or of the one that was ``live``; means over the held-out labels."""
    part = metrics.get(whose)
    return dict(numbers(part)) if isinstance(part, Mapping) else {}


def card_of(weights: Path) -> Mapping[str, Any]:
    """The card as far as it can be read, unchecked: a damaged model still tells what it was made of."""
    try:
        return documents.read(card_path(weights))
    except InputError:
        return {}


def of_card(card: Mapping[str, Any]) -> dict[str, float]:
    """What the card of shipped weights says of them, under names that no trained model's metrics have."""
    parts = {name: card[name] for name in ("held_out", "metrics") if isinstance(card.get(name), Mapping)}
    return dict(numbers(parts, "card."))


def labels_held_out(metrics: Mapping[str, Any]) -> int | None:
    """How many labels the gate judged by."""
    part = metrics.get("candidate")
    lengths = (
        len(value)
        for name, value in (part.items() if isinstance(part, Mapping) else ())
        if name.startswith(HELD_OUT) and isinstance(value, Sequence)
    )
    return next(lengths, None)


def numbers(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by their path, e.g. ``base.gap_mae_ev``; of a list of numbers its mean."""
    for name, value in part.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield path, float(value)
        elif isinstance(value, list | tuple) and value and all(isinstance(x, int | float) for x in value):
            yield f"{path}, mean", sum(value) / len(value)


def text(value: float | None) -> str:
    """For people: counts in full, else five significant digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if value.is_integer() else f"{value:.5g}"


def difference(first: float | None, second: float | None) -> str:
    """What the second has more than the first, for people."""
    return "" if first is None or second is None else f"{second - first:+.3g}"
