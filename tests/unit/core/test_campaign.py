from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core.campaign import CampaignConfig, as_file, cloned, parse_campaign, read_campaign, section_of
from gapsmith.core.errors import InputError

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart.yaml"
LEAST = {"name": "a", "target": {"value": 4.0}}


def test_the_shipped_example_is_valid() -> None:
    config = read_campaign(QUICKSTART)
    assert config.name == "quickstart"
    assert config.target.window.holds(4.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"traget": {}}, ["traget", "unknown key", "'target'"]),
        ({"budget": {"dft_job": 3}}, ["budget.dft_job", "'dft_jobs'"]),
        ({"budget": {"dft_jobs": 0}}, ["budget.dft_jobs", "greater than 0", "0"]),
        ({"budget": {"wall_time": "soon"}}, ["budget.wall_time", "'soon'", "15m"]),
        ({"target": {"value": 4.0, "unit": "debye"}}, ["target.unit", "eV", "debye"]),
        ({"target": {"value": 4.0, "property": "dipol"}}, ["target.property", "did you mean 'dipole'"]),
        ({"target": {"value": -4.0, "property": "dipole"}}, ["target.value", "-4 is not a possible dipole", "debye"]),
        (
            {"target": {"value": 4.0, "property": "dipole", "unit": "eV"}},
            ["target.unit", "measured in debye or mD", "not in eV"],
        ),
        ({"target": {"value": 4.0, "tolerance": 6.0}}, ["target.tolerance", "at most 5 eV"]),
        ({"target": {}}, ["target", "value", "nothing is"]),
        ({"name": "a b"}, ["name", "a b"]),
        ({"constraints": {"elements": ["si"]}}, ["constraints.elements.0", "'si'", "did you mean 'Si'"]),
        ({"constraints": {"elements": ["C", "H"]}}, ["constraints.elements.1", "always allowed"]),
        ({"constraints": {"elements": []}}, ["constraints.elements", "at least 1 item"]),
        ({"constraints": {"heavy_atoms": [5, 3]}}, ["constraints.heavy_atoms", "[5, 3]"]),
        ({"constraints": {"heavy_atoms": [0, 4]}}, ["constraints.heavy_atoms", "[0, 4]"]),
        (
            {"constraints": {"forbidden_smarts": ["C"], "required_smarts": ["C"]}},
            ["constraints", "both forbidden and required"],
        ),
        ({"exploration": {"mask_fraction": 1.5}}, ["exploration.mask_fraction", "1.5"]),
        ({"retraining": {"models": ["generater"]}}, ["retraining.models.0", "'surrogate' or 'generator'", "generater"]),
        ({"retraining": {"models": []}}, ["retraining.models", "at least 1 item"]),
        ({"retraining": {"models": ["surrogate", "surrogate"]}}, ["retraining.models", "names a model twice"]),
    ],
)
def test_errors_name_the_field_the_value_and_what_is_allowed(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_campaign({**LEAST, **change})
    for word in words:
        assert word in str(caught.value)


def test_a_target_takes_its_unit_from_its_property() -> None:
    target = parse_campaign({**LEAST, "target": {"property": "homo", "value": -6.1, "tolerance": 0.2}}).target
    assert (target.root[0].unit, str(target), target.window.low) == ("eV", "HOMO -6.1 ± 0.2 eV", -6.3)
    assert str(parse_campaign({**LEAST, "target": {"property": "dipole", "value": 3}}).target) == "dipole 3 ± 0.1 debye"


def test_the_surrogate_alone_is_retrained_unless_more_is_asked_for() -> None:
    assert parse_campaign(LEAST).retraining.models == ("surrogate",)
    both = parse_campaign({**LEAST, "retraining": {"models": ["surrogate", "generator"]}})
    assert both.retraining.models == ("surrogate", "generator")


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_campaign({**LEAST, "seed": -1, "budget": {"dft_jobs": -1}})
    assert "seed" in str(caught.value)
    assert "budget.dft_jobs" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "name: [", "\x00"])
def test_files_that_hold_no_campaign(tmp_path: Path, text: str) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"campaign\.yaml"):
        read_campaign(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file"):
        read_campaign(tmp_path / "nowhere.yaml")


def test_any_element_and_size_can_be_asked_for() -> None:
    config = parse_campaign({**LEAST, "constraints": {"elements": ["C", "Si", "Br"], "heavy_atoms": [10, 40]}})
    assert config.constraints.elements == ("C", "Si", "Br")
    assert config.constraints.heavy_atoms == (10, 40)
    assert parse_campaign(LEAST).constraints.elements is None


@given(st.integers(0, 3), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_durations(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    config = parse_campaign({**LEAST, "budget": {"wall_time": text}})
    assert config.budget.wall_time == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def test_a_campaign_survives_its_json() -> None:
    config = read_campaign(QUICKSTART)
    assert CampaignConfig.model_validate(config.model_dump(mode="json")) == config
    assert CampaignConfig.model_validate_json(config.model_dump_json()) == config


def test_the_schema_describes_every_key_of_the_example() -> None:
    schema = CampaignConfig.model_json_schema()
    for section, content in yaml.safe_load(QUICKSTART.read_text()).items():
        if isinstance(content, dict):
            definition = section_of(schema, schema["properties"][section])
            assert definition is not None
            assert set(content) <= set(definition["properties"])
            assert all("description" in definition["properties"][key] for key in content)


@pytest.mark.parametrize("value", [1e300, float("nan"), "99999999999999999d", 10**30])
def test_a_duration_that_no_calendar_has_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="calendar"):
        parse_campaign({"name": "a", "target": {"value": 4}, "budget": {"wall_time": value}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ["Ours!"]}, "data"),
        (
            {"data": ["ours"], "retraining": {"enabled": False}},
            "ours would not be learned: retraining of the surrogate",
        ),
        ({"data": ["ours"], "retraining": {"models": ["generator"]}}, "ours would not be learned"),
    ],
)
def test_data_must_have_a_name_and_be_learned(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_campaign({"name": "a", "target": {"value": 4.0}, **changes})
    assert parse_campaign({"name": "a", "target": {"value": 4.0}, "data": ["ours"]}).data == ("ours",)


@pytest.mark.parametrize("path", sorted(QUICKSTART.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_campaign_is_written_as_the_file_it_came_from(path: Path) -> None:
    config = read_campaign(path)
    text = as_file(config)
    assert parse_campaign(yaml.safe_load(text)) == config
    assert len(text.splitlines()) <= len(path.read_text().splitlines()) + 10  # and not all defaults


def test_a_clone_differs_in_name_and_seed_alone() -> None:
    config = read_campaign(QUICKSTART)
    one, other = cloned(config, "one"), cloned(config, "other", 7)
    assert (one.name, other.name, other.seed) == ("one", "other", 7)
    assert one.seed != config.seed
    assert one.model_copy(update={"name": config.name, "seed": config.seed}) == config
    with pytest.raises(InputError, match="name"):
        cloned(config, "no spaces allowed")
