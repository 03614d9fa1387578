import pytest

from gapsmith.core.campaign import CampaignConfig, parse_campaign, section_of
from gapsmith.core.errors import InputError
from gapsmith.dashboard.forms import Field, Form, empty_form, filled_form, read

ELEMENTS = ["C", "N", "O", "F"]


def sent(form: Form, **changes: str | list[str]) -> dict[str, list[str]]:
    """What a browser sends of a form that nobody touched, with changes."""
    values: dict[str, list[str]] = {}
    for field in every(form):
        match field.kind:
            case "flag":
                values |= {field.name: ["yes"]} if field.value else {}
            case "choices" | "range":
                values[field.name] = [str(one) for one in field.value or ()]
            case "lines":
                values[field.name] = ["\n".join(field.value)]
            case _:
                values[field.name] = ["" if field.value is None else str(field.value)]
    for name, value in changes.items():
        values[name.replace("__", ".")] = [value] if isinstance(value, str) else value
    return values


def every(form: Form) -> list[Field]:
    return [*form.first, *(field for section in form.rest for field in section.fields)]


def test_the_form_has_every_key_of_the_campaign_file() -> None:
    schema = CampaignConfig.model_json_schema()
    keys = set()
    for name, part in schema["properties"].items():
        inner = section_of(schema, part)
        properties = {"": part} if inner is None else inner["properties"]
        keys |= {f"{name}.{key}".rstrip(".") for key in properties}
    in_lines = {"between", "below", "above", "minimise", "maximise", "weight"}
    keys = keys - {f"target.{key}" for key in in_lines} | {"target.further"}
    assert {field.name for field in every(empty_form(ELEMENTS))} == keys


def test_an_untouched_form_gives_the_defaults() -> None:
    values = sent(empty_form(ELEMENTS), name="mine", target__value="4.2")
    assert read(ELEMENTS, values) == parse_campaign({"name": "mine", "target": {"value": 4.2}})


def test_every_kind_of_entry_is_read() -> None:
    values = sent(
        empty_form(ELEMENTS),
        name="all-kinds",
        target__value="5.5",
        budget__wall_time="1h30m",
        budget__wanted_hits="3",
        constraints__elements=["C", "O"],
        constraints__heavy_atoms=["4", "7"],
        constraints__forbidden_smarts="[O]-[O]\n  N-N \n\n",
        acquisition__strategy="random",
        retraining__drift="2.5",
    )
    del values["dft.certify"]
    config = read(ELEMENTS, values)
    assert config.budget.wall_time.total_seconds() == 5400
    assert config.budget.wanted_hits == 3
    assert config.constraints.elements == ("C", "O")
    assert config.constraints.heavy_atoms == (4, 7)
    assert config.constraints.forbidden_smarts == ("[O]-[O]", "N-N")
    assert config.acquisition.strategy == "random"
    assert config.retraining.drift == 2.5
    assert config.dft.certify is False


def test_further_targets_are_lines() -> None:
    lines = "homo below -5.5 eV\n minimise dipole weight 0.2\n"
    others = [{"property": "homo", "below": -5.5}, {"property": "dipole", "minimise": True, "weight": 0.2}]
    both = sent(empty_form(ELEMENTS), name="mine", target__value="4.2", target__further=lines)
    assert read(ELEMENTS, both) == parse_campaign({"name": "mine", "target": [{"value": 4.2}, *others]})
    alone = sent(empty_form(ELEMENTS), name="mine", target__further=lines)
    assert read(ELEMENTS, alone) == parse_campaign({"name": "mine", "target": others})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target__value", "many"),
        ("target__value", ""),
        ("target__unit", "debye"),
        ("target__further", "about 4 eV"),
        ("target__further", "homo below 3000 eV"),
        ("name", "two words"),
        ("constraints__heavy_atoms", ["7", "4"]),
        ("constraints__forbidden_smarts", "C(("),
        ("budget__wall_time", "soon"),
    ],
)
def test_a_wrong_value_is_marked_where_it_stands_and_kept(name: str, value: str | list[str]) -> None:
    values = sent(empty_form(ELEMENTS), **{"name": "mine", "target__value": "4", name: value})
    with pytest.raises(InputError) as error:
        read(ELEMENTS, values)
    form = filled_form(ELEMENTS, values, str(error.value))
    marked = {field.name for field in every(form) if field.problem}
    assert marked == {name.replace("__", ".")}
    assert form.problems == []
    (wrong,) = [field for field in every(form) if field.problem]
    kept = wrong.value if isinstance(wrong.value, list) else [wrong.value]
    assert kept == ([value] if isinstance(value, str) else value)


def test_what_belongs_to_no_entry_is_still_said() -> None:
    form = filled_form(ELEMENTS, sent(empty_form(ELEMENTS)), "constraints: 'N' is both forbidden and required")
    assert form.problems == ["constraints: 'N' is both forbidden and required"]
