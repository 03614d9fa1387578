"""What models are judged by before one may go live. Needs nothing, so that services may read it."""

from dataclasses import dataclass

from gapsmith.core.errors import InputError


@dataclass(frozen=True)
class Metric:
    """One number by which two models of a role are compared, and how much worse the new one may be; lower is better."""

    name: str  # among those of ``Trainable.evaluate`` and ``Trainable.evaluate_labels``
    title: str  # in verdicts
    base_margin: float  # worse by so much on the base data is not forgetting
    label_cap: float  # worse by more on new labels is no noise, however widely they scatter
    unit: str = ""
    relative: bool = True  # both are shares of the live model's value; or else in the metric's own unit


def judged_by(trainable: object) -> tuple[Metric, ...]:
    """The metrics that a ``Trainable`` declares as its ``judged_by``; raises InputError if it declares none."""
    declared = tuple(getattr(trainable, "judged_by", ()))
    if not declared:
        raise InputError(
            f"{type(trainable).__name__} does not say what its models are judged by, so that none can be promoted: "
            "declare its metrics as the class attribute judged_by"
        )
    return declared
