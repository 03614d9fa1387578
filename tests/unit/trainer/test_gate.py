"""The promotion gate: known answers, and what must hold for any numbers."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gapsmith.core.errors import InputError
from gapsmith.trainer.gate import Rules, Scores, judge

LIVE = Scores(
    base_gap_mae_ev=0.1,
    base_gap_nll=-0.5,
    held_out_error_ev=(0.20, 0.30, 0.10, 0.20),
    held_out_nll=(0.1, 0.3, -0.2, 0.2),
)

errors = st.lists(st.floats(0.001, 5), min_size=2, max_size=12)


def changed(**fields: object) -> Scores:
    return LIVE.model_copy(update=fields)


def test_better_everywhere_is_promoted() -> None:
    verdict = judge(
        changed(base_gap_mae_ev=0.09, held_out_error_ev=(0.1, 0.2, 0.1, 0.1), held_out_nll=(0, 0, -0.3, 0)), LIVE
    )
    assert verdict.promoted
    assert verdict.sentence == (
        "promoted on 4 held-out labels: QM9 gap MAE 0.0900 eV, live 0.1000 (allowed +5%), NLL +0.000 (allowed +0.1); "
        "new labels' gap MAE 0.125 eV, live 0.200 (not worse); new labels' NLL -0.075, live 0.100 (not worse); "
        "so few labels show a clear loss, not a small gain"
    )


@pytest.mark.parametrize(("mae", "promoted"), [(0.1, True), (0.1049, True), (0.1051, False), (math.nan, False)])
def test_forgetting_is_refused(mae: float, promoted: bool) -> None:
    verdict = judge(changed(base_gap_mae_ev=mae), LIVE)
    assert verdict.promoted is promoted
    assert ("FAILED: QM9" in verdict.sentence) is not promoted


@pytest.mark.parametrize(("nll", "promoted"), [(-0.41, True), (-0.39, False), (math.nan, False)])
def test_calibration_on_the_base_set(nll: float, promoted: bool) -> None:
    assert judge(changed(base_gap_nll=nll), LIVE).promoted is promoted


def test_loss_within_one_standard_error_is_noise() -> None:
    # differences 0.06, -0.04, 0.03, -0.03: mean 0.005, standard error 0.0239
    verdict = judge(changed(held_out_error_ev=(0.26, 0.26, 0.13, 0.17)), LIVE)
    assert verdict.promoted
    assert "gap MAE 0.205 eV, live 0.200 (worse by 0.005, within the noise of 0.024)" in verdict.sentence


def test_loss_on_every_label_is_no_noise() -> None:
    verdict = judge(changed(held_out_error_ev=(0.23, 0.33, 0.13, 0.23)), LIVE)  # the same everywhere: no scatter at all
    assert not verdict.promoted
    assert (
        "FAILED: new labels' gap MAE 0.230 eV, live 0.200 (worse by 0.030, beyond the noise of 0.000)"
        in verdict.sentence
    )


def test_noise_is_capped_however_wide() -> None:
    # differences 0.6, -0.15, -0.05, -0.15: mean 0.0625, standard error 0.18, but the cap is 20 % of 0.2
    verdict = judge(changed(held_out_error_ev=(0.8, 0.15, 0.05, 0.05)), LIVE)
    assert not verdict.promoted
    assert "beyond the noise of 0.040" in verdict.sentence


def test_worse_calibration_is_refused_though_errors_shrink() -> None:
    verdict = judge(changed(held_out_error_ev=(0.1, 0.1, 0.1, 0.1), held_out_nll=(1.1, 1.2, 0.9, 1.3)), LIVE)
    assert not verdict.promoted
    assert "FAILED: new labels' NLL" in verdict.sentence
    assert "FAILED: new labels' gap" not in verdict.sentence


def test_one_label_allows_no_loss_at_all() -> None:
    live = changed(held_out_error_ev=(0.2,), held_out_nll=(0.1,))
    assert judge(live, live).promoted
    assert not judge(live.model_copy(update={"held_out_error_ev": (0.2001,)}), live).promoted


def test_number_of_labels_must_agree() -> None:
    with pytest.raises(InputError, match="same held-out labels"):
        judge(changed(held_out_error_ev=(0.1,), held_out_nll=(0.1,)), LIVE)
    none = changed(held_out_error_ev=(), held_out_nll=())
    with pytest.raises(InputError, match="at least one"):
        judge(none, none)


@given(errors=errors, nll=errors)
def test_same_scores_are_never_refused(errors: list[float], nll: list[float]) -> None:
    count = min(len(errors), len(nll))
    scores = changed(held_out_error_ev=tuple(errors[:count]), held_out_nll=tuple(nll[:count]))
    assert judge(scores, scores).promoted


@given(errors=errors, place=st.integers(0, 11), bad=st.sampled_from([math.nan, math.inf]))
def test_prediction_that_is_not_finite_is_never_promoted(errors: list[float], place: int, bad: float) -> None:
    live = changed(held_out_error_ev=tuple(errors), held_out_nll=tuple(errors))
    spoilt = list(errors)
    spoilt[place % len(errors)] = bad
    assert not judge(live.model_copy(update={"held_out_error_ev": tuple(spoilt)}), live).promoted
    assert not judge(live.model_copy(update={"held_out_nll": tuple(spoilt)}), live).promoted


@given(old=errors, new=errors)
def test_mean_loss_above_the_cap_is_never_promoted(old: list[float], new: list[float]) -> None:
    count = min(len(old), len(new))
    assume(sum(new[:count]) > (1 + Rules().error_cap + 1e-9) * sum(old[:count]))
    live = changed(held_out_error_ev=tuple(old[:count]), held_out_nll=(0.0,) * count)
    assert not judge(live.model_copy(update={"held_out_error_ev": tuple(new[:count])}), live).promoted


def test_scores_survive_json_also_when_not_finite() -> None:
    scores = changed(held_out_nll=(math.inf, math.nan, 1.0, 2.0))
    again = Scores.model_validate_json(scores.model_dump_json())
    assert again.held_out_nll[0] == math.inf
    assert math.isnan(again.held_out_nll[1])
