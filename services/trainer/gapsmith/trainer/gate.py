"""The promotion gate: a pure function of measured errors.

A candidate goes live only if it has not forgotten (errors on a frozen part of QM9) and is not worse, and not less
calibrated, on labels newer than all that it or the live model was trained on.

A campaign has a handful of such labels, on which no test has much power. So the gate does not ask for proof of a gain:
both models predict the same labels, the differences are paired, and a loss counts as noise only while its mean is
within one standard error (Breiman's rule for choosing among models) and, however noisy, below a fixed cap. That lets
through some candidates that are no better; the verdict says with how many labels it was reached.
"""

import math
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from gapsmith.core.errors import InputError

FEW = 10  # fewer held-out labels than this are called few in the verdict


class Scores(BaseModel):
    """What a model was measured at."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")
    base_gap_mae_ev: float  # on the frozen base set
    base_gap_nll: float
    held_out_error_ev: tuple[float, ...]  # absolute error of the gap of every held-out label
    held_out_nll: tuple[float, ...]  # Gaussian negative log-likelihood of every held-out label


@dataclass(frozen=True)
class Rules:
    """How much worse a candidate may be."""

    base_margin: float = 0.05  # of the live model's error on the base set
    base_nll_margin: float = 0.1  # nats
    error_cap: float = 0.2  # of the live model's mean error on the held-out labels
    nll_cap: float = 0.5  # nats


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


def judge(candidate: Scores, live: Scores, rules: Rules = Rules()) -> Verdict:
    """Whether the candidate may replace the live model.

    Raises:
        InputError: the two were not measured on the same held-out labels, or on none.
    """
    labels = len(candidate.held_out_error_ev)
    if labels == 0 or {labels} != {len(x) for x in (live.held_out_error_ev, live.held_out_nll, candidate.held_out_nll)}:
        raise InputError("candidate and live model must be measured on the same held-out labels, at least one")
    checks = [
        _base(candidate, live, rules),
        _paired("gap MAE", " eV", candidate.held_out_error_ev, live.held_out_error_ev, rules.error_cap, relative=True),
        _paired("NLL", "", candidate.held_out_nll, live.held_out_nll, rules.nll_cap, relative=False),
    ]
    promoted = all(check.passed for check in checks)
    few = "; so few labels show a clear loss, not a small gain" if labels < FEW else ""
    reasons = "; ".join(check.text if check.passed else f"FAILED: {check.text}" for check in checks)
    return Verdict(promoted, f"{'promoted' if promoted else 'rejected'} on {labels} held-out labels: {reasons}{few}")


def _base(candidate: Scores, live: Scores, rules: Rules) -> Check:
    new, old = candidate.base_gap_mae_ev, live.base_gap_mae_ev
    nll = candidate.base_gap_nll - live.base_gap_nll
    finite = all(map(math.isfinite, (new, old, nll)))
    return Check(
        finite and new <= old * (1 + rules.base_margin) and nll <= rules.base_nll_margin,
        f"QM9 gap MAE {new:.4f} eV, live {old:.4f} (allowed +{rules.base_margin:.0%}), "
        f"NLL {nll:+.3f} (allowed +{rules.base_nll_margin:g})",
    )


def _paired(
    name: str, unit: str, new: tuple[float, ...], old: tuple[float, ...], cap: float, *, relative: bool
) -> Check:
    """Compare on the same labels: better, worse within one standard error and a cap, or worse."""
    ours, theirs = np.array(new), np.array(old)
    text = f"new labels' {name} {ours.mean():.3f}{unit}, live {theirs.mean():.3f}"
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return Check(False, f"{text}, which is not finite")
    loss = float((ours - theirs).mean())
    if loss <= 0:
        return Check(True, f"{text} (not worse)")
    error = float((ours - theirs).std(ddof=1) / math.sqrt(len(ours))) if len(ours) > 1 else 0.0
    allowed = min(error, cap * float(theirs.mean()) if relative else cap)
    verdict = "within" if loss <= allowed else "beyond"
    return Check(loss <= allowed, f"{text} (worse by {loss:.3f}, {verdict} the noise of {allowed:.3f})")
