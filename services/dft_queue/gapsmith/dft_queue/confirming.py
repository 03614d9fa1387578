"""Gaps that nobody expected: computed again by another route, so that they teach, or fail with their reason."""

from typing import Final

from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.dft_queue.jobs import CalculationOutput

DEVIATIONS: Final = 6.0  # of the prediction, beyond which a gap is surprising
LEAST_EV: Final = 1.0  # smaller errors are the model's own
AGREE_EV: Final = 0.1  # density fitting and thresholds make less than a tenth of it
SURPRISING: Final = "the gap is far from its prediction"


def is_surprising(gap_ev: float | None, expected_ev: tuple[float, float] | None) -> bool:
    """Whether a gap is far from what the surrogate predicted (mean and standard deviation, eV)."""
    if gap_ev is None or expected_ev is None:
        return False
    mean, deviation = expected_ev
    return abs(gap_ev - mean) > max(LEAST_EV, DEVIATIONS * deviation)


def confirmed(first: CalculationOutput, again: CalculationOutput) -> CalculationOutput:
    """The first result, marked as confirmed.

    Raises:
        CalculationError: the two routes end at different gaps (chemistry).
    """
    assert first.gap_ev is not None  # what has none does not surprise
    if again.gap_ev is None or abs(again.gap_ev - first.gap_ev) > AGREE_EV:
        other = "none" if again.gap_ev is None else f"{again.gap_ev:.3f} eV"
        lower_ev = first.energy_hartree - again.energy_hartree
        raise CalculationError(
            FailureClass.CHEMISTRY,
            f"{SURPRISING}, and two routes of the SCF do not agree: {first.gap_ev:.3f} eV, then {other} by another first "
            f"guess, second order and exact integrals (energy {lower_ev:+.5f} hartree lower)",
            FailureCode.UNCONFIRMED,
        )
    finding = f"{SURPRISING} and was confirmed by another route: {again.gap_ev:.3f} eV"
    return first.model_copy(
        update={
            "confirmed_by": again.rung or "other route",
            "findings": (*first.findings, finding),
            "cpu_s": first.cpu_s + again.cpu_s,
            "wall_s": first.wall_s + again.wall_s,
        }
    )
