"""What models are judged by before one may go live. Needs no torch, so that services may read it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from gapsmith.core import properties
from gapsmith.core.errors import InputError


@dataclass(frozen=True)
class Metric:
    """One number by which two models of a role are compared, and how much worse the new one may be; lower is better.

    In ``name``, ``title`` and ``unit``, ``{head}``, ``{noun}``, ``{unit}`` and ``{suffix}`` (of names) stand for the heads
    that the campaign's target needs: for each of them there is one such metric.
    """

    name: str  # among those of ``Trainable.evaluate`` and ``Trainable.evaluate_labels``
    title: str  # in verdicts
    base_margin: float  # worse by so much on the base data is not forgetting
    label_cap: float  # worse by more on new labels is no noise, however widely they scatter
    unit: str = ""
    relative: bool = True  # both are shares of the live model's value; or else in the metric's own unit
    absolute_error: bool = False  # in the unit of the head; labels with very large ones are set aside
    on: Literal["both", "base", "labels"] = "both"  # what it is measured on


def judged_by(
    trainable: object, target: str = "gap", *, learned: Collection[str] = (), kept: Collection[str] = ()
) -> tuple[Metric, ...]:
    """The metrics that a ``Trainable`` declares as its ``judged_by``, for a campaign that wants this property.

    Args:
        trainable: the architecture.
        target: property.
        learned: heads that a training on imported data sets is about; they are judged on labels, instead of the target.
        kept: heads that such a training must not make worse on the base data.

    Raises:
        InputError: it declares none, or there is no such property.
    """
    declared: tuple[Metric, ...] = tuple(getattr(trainable, "judged_by", ()))
    if not declared:
        raise InputError(
            f"{type(trainable).__name__} does not say what its models are judged by, so that none can be promoted: "
            "declare its metrics as the class attribute judged_by"
        )
    if not learned:
        needed = [one for name in properties.get(target).needs for one in _of_head(declared, name, "both")]
        return tuple({one.name: one for one in needed}.values())  # a generator's are the same for every head
    known = [name for name in kept if name in properties.registered()]
    return (
        *(one for name in known for one in _of_head(declared, name, "base")),
        *(one for name in learned for one in _of_head(declared, name, "labels")),
    )


def _of_head(declared: tuple[Metric, ...], head: str, on: Literal["both", "base", "labels"]) -> list[Metric]:
    name, own, level = head.partition("@")
    kind = properties.get(name)
    noun = f"{kind.noun} at {level}" if own else kind.noun
    words = {"head": head, "noun": noun, "unit": kind.unit, "suffix": properties.suffix(kind.unit)}
    return [
        replace(metric, name=name, title=title, unit=unit, on=on)
        for metric in declared
        for name, title, unit in [(text.format(**words) for text in (metric.name, metric.title, metric.unit))]
    ]
