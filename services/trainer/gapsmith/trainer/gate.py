"""The promotion gate: a pure function of measured errors.

A candidate goes live only if it has not forgotten (errors on a frozen part of QM9) and is not worse, and not less
calibrated, on labels newer than all that it or the live model was trained on. What that is measured by, and how much
worse is too much, each kind of model declares itself (``gapsmith.training.judging``).

A campaign has a handful of such labels, on which no test has much power. So the gate does not ask for proof of a gain:
both models judge the same labels, the differences are paired, and a loss counts as noise only while its mean is
within one standard error (Breiman's rule for choosing among models) and, however noisy, below a fixed cap. That lets
through some candidates that are no better; the verdict says with how many labels it was reached.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from gapsmith.core.errors import InputError
from gapsmith.training.judging import Metric

FEW = 10  # fewer held-out labels than this are called few in the verdict


class Scores(BaseModel):
    """What a model was measured at, by the names of metrics."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")
    base: Mapping[str, float]  # on the frozen base set
    labels: Mapping[str, tuple[float, ...]]  # of every held-out label

    def named(self) -> dict[str, float | tuple[float, ...]]:
        """All in one, e.g. ``base_gap_mae_ev`` and, one number per label, ``held_out_gap_mae_ev``."""
        base = {f"base_{name}": value for name, value in self.base.items()}
        return base | {f"held_out_{name}": values for name, values in self.labels.items()}


@dataclass(frozen=True)
class Verdict:
    """What the gate found."""

    promoted: bool
    sentence: str


@dataclass(frozen=True)
class Check:
    """One condition with its numbers."""

    passed: bool
    text: str


def judge(candidate: Scores, live: Scores, metrics: Sequence[Metric]) -> Verdict:
    """Whether the candidate may replace the live model.

    Raises:
        InputError: there are no metrics, or the two were not measured by them on the same held-out labels, or on none.
    """
    on_base, on_labels = ([one for one in metrics if one.on in ("both", part)] for part in ("base", "labels"))
    counts = {len(scores.labels.get(metric.name, ())) for scores in (candidate, live) for metric in on_labels}
    if len(counts) != 1 or 0 in counts:
        raise InputError("candidate and live model must be measured on the same held-out labels, at least one")
    checks = [_base(metric, candidate, live) for metric in on_base]
    checks += [_paired(metric, candidate.labels[metric.name], live.labels[metric.name]) for metric in on_labels]
    promoted, (labels,) = all(check.passed for check in checks), counts
    few = "; so few labels show a clear loss, not a small gain" if labels < FEW else ""
    reasons = "; ".join(check.text if check.passed else f"FAILED: {check.text}" for check in checks)
    return Verdict(promoted, f"{'promoted' if promoted else 'rejected'} on {labels} held-out labels: {reasons}{few}")


def _base(metric: Metric, candidate: Scores, live: Scores) -> Check:
    new, old = candidate.base.get(metric.name, math.nan), live.base.get(metric.name, math.nan)
    margin = metric.base_margin
    allowed, shown = (margin * abs(old), f"{100 * margin:g}%") if metric.relative else (margin, f"{margin:g}")
    return Check(
        math.isfinite(new) and math.isfinite(old) and new <= old + allowed,
        f"QM9 {metric.title} {new:.4f}{metric.unit}, live {old:.4f} (allowed +{shown})",
    )


def _paired(metric: Metric, new: Sequence[float], old: Sequence[float]) -> Check:
    """Compare on the same labels: better, worse within one standard error and a cap, or worse."""
    ours, theirs = np.array(new), np.array(old)
    text = f"new labels' {metric.title} {ours.mean():.3f}{metric.unit}, live {theirs.mean():.3f}"
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return Check(False, f"{text}, which is not finite")
    loss = float((ours - theirs).mean())
    if loss <= 0:
        return Check(True, f"{text} (not worse)")
    error = float((ours - theirs).std(ddof=1) / math.sqrt(len(ours))) if len(ours) > 1 else 0.0
    allowed = min(error, metric.label_cap * abs(float(theirs.mean())) if metric.relative else metric.label_cap)
    verdict = "within" if loss <= allowed else "beyond"
    return Check(loss <= allowed, f"{text} (worse by {loss:.3f}, {verdict} the noise of {allowed:.3f})")
