"""The promotion gate: known answers, and what must hold for any numbers."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core.errors import InputError
from gapsmith.trainer.gate import Scores, Verdict, judge
from gapsmith.training.judging import Metric, judged_by
from gapsmith.training.protocol import trainable

ERROR = Metric(name="gap_mae_ev", title="gap MAE", unit=" eV", base_margin=0.05, label_cap=0.2)
NLL = Metric(name="gap_nll", title="NLL", base_margin=0.1, label_cap=0.5, relative=False)
METRICS = (ERROR, NLL)

errors = st.lists(st.floats(0.001, 5), min_size=2, max_size=12)


def scored(
    base_error: float = 0.1,
    base_nll: float = -0.5,
    errors: Sequence[float] = (0.20, 0.30, 0.10, 0.20),
    nll: Sequence[float] = (0.1, 0.3, -0.2, 0.2),
) -> Scores:
    """The live model's scores, with changes."""
    return Scores(
        base={"gap_mae_ev": base_error, "gap_nll": base_nll},
        labels={"gap_mae_ev": tuple(errors), "gap_nll": tuple(nll)},
    )


LIVE = scored()


def verdict_on(candidate: Scores, live: Scores = LIVE) -> Verdict:
    return judge(candidate, live, METRICS)


def test_better_everywhere_is_promoted() -> None:
    verdict = verdict_on(scored(base_error=0.09, errors=(0.1, 0.2, 0.1, 0.1), nll=(0, 0, -0.3, 0)))
    assert verdict.promoted
    assert verdict.sentence == (
        "promoted on 4 held-out labels: QM9 gap MAE 0.0900 eV, live 0.1000 (allowed +5%); "
        "QM9 NLL -0.5000, live -0.5000 (allowed +0.1); "
        "new labels' gap MAE 0.125 eV, live 0.200 (not worse); new labels' NLL -0.075, live 0.100 (not worse); "
        "so few labels show a clear loss, not a small gain"
    )


@pytest.mark.parametrize(("mae", "promoted"), [(0.1, True), (0.1049, True), (0.1051, False), (math.nan, False)])
def test_forgetting_is_refused(mae: float, promoted: bool) -> None:
    verdict = verdict_on(scored(base_error=mae))
    assert verdict.promoted is promoted
    assert ("FAILED: QM9 gap MAE" in verdict.sentence) is not promoted


@pytest.mark.parametrize(("nll", "promoted"), [(-0.41, True), (-0.39, False), (math.nan, False)])
def test_calibration_on_the_base_set(nll: float, promoted: bool) -> None:
    verdict = verdict_on(scored(base_nll=nll))
    assert verdict.promoted is promoted
    assert ("FAILED: QM9 NLL" in verdict.sentence) is not promoted


def test_loss_within_one_standard_error_is_noise() -> None:
    # differences 0.06, -0.04, 0.03, -0.03: mean 0.005, standard error 0.0239
    verdict = verdict_on(scored(errors=(0.26, 0.26, 0.13, 0.17)))
    assert verdict.promoted
    assert "gap MAE 0.205 eV, live 0.200 (worse by 0.005, within the noise of 0.024)" in verdict.sentence


def test_loss_on_every_label_is_no_noise() -> None:
    verdict = verdict_on(scored(errors=(0.23, 0.33, 0.13, 0.23)))  # the same everywhere: no scatter at all
    assert not verdict.promoted
    assert (
        "FAILED: new labels' gap MAE 0.230 eV, live 0.200 (worse by 0.030, beyond the noise of 0.000)"
        in verdict.sentence
    )


def test_noise_is_capped_however_wide() -> None:
    # differences 0.6, -0.15, -0.05, -0.15: mean 0.0625, standard error 0.18, but the cap is 20 % of 0.2
    verdict = verdict_on(scored(errors=(0.8, 0.15, 0.05, 0.05)))
    assert not verdict.promoted
    assert "beyond the noise of 0.040" in verdict.sentence


def test_worse_calibration_is_refused_though_errors_shrink() -> None:
    verdict = verdict_on(scored(errors=(0.1, 0.1, 0.1, 0.1), nll=(1.1, 1.2, 0.9, 1.3)))
    assert not verdict.promoted
    assert "FAILED: new labels' NLL" in verdict.sentence
    assert "FAILED: new labels' gap" not in verdict.sentence


def test_one_label_allows_no_loss_at_all() -> None:
    live = scored(errors=(0.2,), nll=(0.1,))
    assert verdict_on(live, live).promoted
    assert not verdict_on(scored(errors=(0.2001,), nll=(0.1,)), live).promoted


def test_number_of_labels_must_agree() -> None:
    with pytest.raises(InputError, match="same held-out labels"):
        verdict_on(scored(errors=(0.1,), nll=(0.1,)))
    none = scored(errors=(), nll=())
    with pytest.raises(InputError, match="at least one"):
        verdict_on(none, none)
    with pytest.raises(InputError, match="at least one"):
        judge(LIVE, LIVE, ())


def test_a_kind_is_judged_by_what_it_declares_and_by_nothing_else() -> None:
    live = Scores(base={"loss": 1.0, "other": 1.0}, labels={"loss": (1.0, 2.0), "other": (1.0, 1.0)})
    worse_in_other = Scores(base={"loss": 1.005, "other": 9.0}, labels={"loss": (0.9, 1.9), "other": (9.0, 9.0)})
    loss = Metric(name="loss", title="denoising loss", base_margin=0.01, label_cap=0.05)
    verdict = judge(worse_in_other, live, (loss,))
    assert verdict.promoted
    assert verdict.sentence.startswith(
        "promoted on 2 held-out labels: QM9 denoising loss 1.0050, live 1.0000 (allowed +1%); "
        "new labels' denoising loss 1.400, live 1.500 (not worse)"
    )
    assert not judge(worse_in_other, live, (loss, replace(loss, name="other"))).promoted
    with pytest.raises(InputError, match="same held-out labels"):
        judge(live, live, (loss, replace(loss, name="nobody measured that")))


@pytest.mark.parametrize(
    ("architecture", "names"), [("equivariant_gnn", ["gap_mae_ev", "gap_nll"]), ("masked_diffusion", ["loss"])]
)
def test_the_shipped_architectures_declare_what_judges_them(architecture: str, names: list[str]) -> None:
    assert [metric.name for metric in judged_by(trainable(architecture))] == names


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("dipole", ["dipole_mae_debye", "dipole_nll"]),
        ("hardness", ["homo_mae_ev", "homo_nll", "lumo_mae_ev", "lumo_nll"]),  # half their difference
    ],
)
def test_a_surrogate_is_judged_by_the_heads_that_the_target_needs(target: str, names: list[str]) -> None:
    found = judged_by(trainable("equivariant_gnn"), target)
    assert [metric.name for metric in found] == names
    assert (found[0].title, found[0].unit) == {"dipole": ("dipole MAE", " debye"), "hardness": ("HOMO MAE", " eV")}[
        target
    ]
    assert [metric.name for metric in judged_by(trainable("masked_diffusion"), target)] == ["loss"]


def test_a_kind_that_declares_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="object does not say what its models are judged by"):
        judged_by(object())


@given(errors=errors, nll=errors)
def test_same_scores_are_never_refused(errors: list[float], nll: list[float]) -> None:
    count = min(len(errors), len(nll))
    scores = scored(errors=errors[:count], nll=nll[:count])
    assert verdict_on(scores, scores).promoted


@given(errors=errors, place=st.integers(0, 11), bad=st.sampled_from([math.nan, math.inf]))
def test_prediction_that_is_not_finite_is_never_promoted(errors: list[float], place: int, bad: float) -> None:
    live = scored(errors=errors, nll=errors)
    spoilt = list(errors)
    spoilt[place % len(errors)] = bad
    assert not verdict_on(scored(errors=spoilt, nll=errors), live).promoted
    assert not verdict_on(scored(errors=errors, nll=spoilt), live).promoted


@given(old=errors, more=st.data())
def test_mean_loss_above_the_cap_is_never_promoted(old: list[float], more: st.DataObject) -> None:
    count, least = len(old), (1 + ERROR.label_cap + 1e-6) * sum(old)
    parts = more.draw(st.lists(st.floats(0.001, 1), min_size=count, max_size=count))
    new = [part * least / sum(parts) for part in parts]
    nothing = (0.0,) * count
    live = scored(errors=old, nll=nothing)
    assert not verdict_on(scored(errors=new, nll=nothing), live).promoted


def test_what_imported_data_teach_is_judged_on_labels_and_the_rest_on_qm9() -> None:
    metrics = judged_by(trainable("equivariant_gnn"), learned=["gap@ours"], kept=["gap", "homo", "gfn2_gap"])
    assert {one.name: one.on for one in metrics} == {
        "gap_mae_ev": "base", "gap_nll": "base", "homo_mae_ev": "base", "homo_nll": "base",
        "gap@ours_mae_ev": "labels", "gap@ours_nll": "labels",
    }  # fmt: skip
    base = {one.name: 0.1 for one in metrics if one.on == "base"}

    def scores(own: float, gap: float) -> Scores:
        return Scores(
            base=base | {"gap_mae_ev": gap}, labels={"gap@ours_mae_ev": (own, own), "gap@ours_nll": (0.0, 0.0)}
        )

    live = scores(0.5, 0.1)
    assert judge(scores(0.4, 0.1), live, metrics).promoted
    assert not judge(scores(0.7, 0.1), live, metrics).promoted
    assert not judge(scores(0.4, 0.2), live, metrics).promoted
    assert "gap at ours MAE 0.400 eV, live 0.500" in judge(scores(0.4, 0.1), live, metrics).sentence


def test_scores_survive_json_also_when_not_finite() -> None:
    again = Scores.model_validate_json(scored(nll=(math.inf, math.nan, 1.0, 2.0)).model_dump_json())
    assert again.labels["gap_nll"][0] == math.inf
    assert math.isnan(again.labels["gap_nll"][1])


def test_scores_have_a_name_each() -> None:
    assert LIVE.named() == {
        "base_gap_mae_ev": 0.1,
        "base_gap_nll": -0.5,
        "held_out_gap_mae_ev": (0.20, 0.30, 0.10, 0.20),
        "held_out_gap_nll": (0.1, 0.3, -0.2, 0.2),
    }
