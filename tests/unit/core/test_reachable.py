"""Whether a target can be predicted and computed is checked before a campaign starts."""

import pytest

from gapsmith.core.campaign import CampaignConfig, parse_campaign
from gapsmith.core.errors import InputError
from gapsmith.core.reachable import check_target

HEADS = ("gap", "homo", "lumo", "dipole", "polarizability")


def wanted(name: str, value: float) -> CampaignConfig:
    return parse_campaign({"name": "a", "target": {"property": name, "value": value}})


@pytest.mark.parametrize(
    ("name", "value"), [("gap", 4.0), ("homo", -6.0), ("lumo", -1.0), ("dipole", 3.0), ("electronegativity", 4.0)]
)
def test_what_models_predict_and_levels_compute_is_allowed(name: str, value: float) -> None:
    check_target(wanted(name, value), HEADS)
    check_target(wanted(name, value), None)


def test_what_no_head_predicts_is_refused_with_what_is_known() -> None:
    with pytest.raises(InputError, match="surrogate does not predict 'hardness'; it predicts gap, homo, dipole"):
        check_target(wanted("hardness", 3.0), ("gap", "homo", "dipole"))


def test_excited_states_need_a_model_with_their_heads_and_a_level() -> None:
    with pytest.raises(InputError, match=r"does not predict 'delta_st'.*Train one with a head for s1 and t1 on labels"):
        check_target(wanted("delta_st", 0.1), HEADS)
    with pytest.raises(
        InputError, match=r"triage does not compute 'delta_st'.*\[excitations, triplets\] in a levels file"
    ):
        check_target(wanted("delta_st", 0.1), (*HEADS, "s1", "t1"))


def test_what_no_level_computes_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"level triage does not compute 'polarizability', only gap, .*\[polarizability\]"
    ):
        check_target(wanted("polarizability", 70.0), HEADS)
