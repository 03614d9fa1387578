"""What models are judged by before one may go live. Needs no torch, so that services may read it."""

from dataclasses import dataclass, replace

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


def judged_by(trainable: object, target: str = "gap") -> tuple[Metric, ...]:
    """The metrics that a ``Trainable`` declares as its ``judged_by``, for a campaign that wants this property.

    Raises:
        InputError: it declares none, or there is no such property.
    """
    declared: tuple[Metric, ...] = tuple(getattr(trainable, "judged_by", ()))
    if not declared:
        raise InputError(
            f"{type(trainable).__name__} does not say what its models are judged by, so that none can be promoted: "
            "declare its metrics as the class attribute judged_by"
        )
    found = {}
    for head in (properties.get(name) for name in properties.get(target).needs):
        words = {"head": head.name, "noun": head.noun, "unit": head.unit, "suffix": properties.suffix(head.unit)}
        for metric in declared:
            name, title, unit = (text.format(**words) for text in (metric.name, metric.title, metric.unit))
            found[name] = replace(metric, name=name, title=title, unit=unit)
    return tuple(found.values())
