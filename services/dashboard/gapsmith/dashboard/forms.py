"""The form of a new campaign, built from the model that validates campaign files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gapsmith.core.alerts import alerts
from gapsmith.core.campaign import CampaignConfig, parse_campaign, section_of
from gapsmith.core.chemistry.screening import check_constraints
from gapsmith.core.errors import InputError
from gapsmith.core.wanted import FORMS, read_text

FURTHER: Final = "target.further"  # what no field has: other windows, and what ranks the hits
FIRST: Final = (
    "name",
    "target.property",
    "target.value",
    "target.tolerance",
    "target.unit",
    FURTHER,
    "budget.dft_jobs",
    "budget.wanted_hits",
    "budget.wall_time",
)
ELEMENTS: Final = "constraints.elements"  # any symbol in a campaign file; the form offers those that the models know
ALERTS: Final = "constraints.alerts"  # in a campaign file with a word for all of them
LABELS: Final = {
    "target.value": "Wanted value",
    FURTHER: "Further targets",
    "budget.dft_jobs": "DFT jobs",
    "constraints.sa_score": "Synthetic accessibility at most",
    "constraints.forbidden_smarts": "Forbidden SMARTS",
    "constraints.required_smarts": "Required SMARTS",
}

Values = Mapping[str, Sequence[str]]  # of a form: each name's values


@dataclass(frozen=True)
class Field:
    """An entry of the form."""

    name: str  # path in the campaign file, e.g. target.value
    label: str
    kind: str  # text, number, integer, flag, choice, choices, range, lines or duration
    help: str
    value: Any
    required: bool = False
    options: Sequence[str] = ()
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    problem: str | None = None  # what is wrong with the value


@dataclass(frozen=True)
class Section:
    """Entries that belong together."""

    title: str
    help: str
    fields: Sequence[Field]


@dataclass(frozen=True)
class Form:
    """The whole form."""

    first: Sequence[Field]  # what most people change
    rest: Sequence[Section]
    problems: Sequence[str] = ()  # that belong to no entry


def empty_form(elements: Sequence[str]) -> Form:
    """With the defaults of the campaign file; ``elements`` are those that the live models know, besides hydrogen."""
    return _form(_fields(elements), {}, [])


def filled_form(elements: Sequence[str], values: Values, problem: str) -> Form:
    """As the user sent it, each line of a problem beside its entry."""
    return _form(_fields(elements), values, problem.splitlines())


def read(elements: Sequence[str], values: Values) -> CampaignConfig:
    """The campaign that a form describes; raises InputError with one line per problem, as campaign files do."""
    raw: dict[str, Any] = {}
    further: list[str] = []
    for field in _every(_fields(elements)):
        given = _given(field, values)
        if field.name == FURTHER:
            further = given
        elif given is not None:
            section, _, key = field.name.rpartition(".")
            (raw.setdefault(section, {}) if section else raw)[key] = given
    first = raw.get("target", {})
    try:
        config = parse_campaign(raw | {"target": _target(first, further)})
    except InputError as error:
        raise InputError("\n".join(_of_form(line, "value" in first) for line in str(error).splitlines())) from error
    try:
        allowed = config.constraints.elements or tuple(elements)
        check_constraints(config.constraints.model_copy(update={"elements": allowed}))
    except InputError as error:
        raise InputError(_located(str(error))) from error
    return config


def _target(first: dict[str, Any], further: Sequence[str]) -> Any:
    """One target, or a list if there are further ones; without a value the first is not meant."""
    try:
        others = [read_text(line) for line in further]
    except InputError as error:
        raise InputError(f"{FURTHER}: {error}") from error
    if "value" not in first and not others:
        raise InputError("target.value: missing")
    if "value" in first:
        return [first, *others] if others else first
    return others


def _of_form(line: str, has_first: bool) -> str:
    """A line of a problem, with the place in a list of targets as the form has it."""
    if (found := re.match(r"target\.(\d+)(\.\w+)?: ", line)) is None:
        return line
    if has_first and found[1] == "0":
        return line.replace("target.0", "target", 1)
    return f"{FURTHER}: {line[found.end() :]}"


def _located(text: str) -> str:
    return text if text.startswith("constraints") else f"constraints.{text}"


def _given(field: Field, values: Values) -> Any:
    """A value as a campaign file would have it; None: the default."""
    texts = [text.strip() for text in values.get(field.name, ())]
    if field.kind == "flag":
        return bool(texts)
    if field.kind == "choices":
        return None if texts == list(field.value) else texts
    if field.kind == "lines":
        return [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    if field.kind == "range":
        return [_integer(text) for text in texts] if any(texts) else None
    text = texts[0] if texts else ""
    if not text:
        return None
    return _integer(text) if field.kind == "integer" else _number(text) if field.kind == "number" else text


def _integer(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text  # the model says what is wrong with it


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _every(sections: Mapping[str, Section]) -> list[Field]:
    return [field for section in sections.values() for field in section.fields]


def _fields(elements: Sequence[str]) -> dict[str, Section]:
    """All entries by section; the section without a name has the top level's."""
    schema = CampaignConfig.model_json_schema()
    own: list[Field] = []
    found = {"": Section("", "", own)}
    for name, part in schema["properties"].items():
        inner = section_of(schema, part)
        if inner is None:
            own.append(_field(name, part, name in schema["required"]))
            continue
        keys = inner["properties"].items()
        if name == "target":  # the first one has fields of its own; others are lines of text
            keys = [(key, value) for key, value in keys if key in ("property", "value", "tolerance", "unit")]
        fields = [_field(f"{name}.{key}", value, key in inner.get("required", ())) for key, value in keys]
        if name == "target":
            fields.append(Field(FURTHER, LABELS[FURTHER], "lines", FORMS, ()))
        choices = {ELEMENTS: elements, ALERTS: tuple(alerts())}
        fields = [
            replace(one, kind="choices", options=known, value=known) if (known := choices.get(one.name)) else one
            for one in fields
        ]
        found[name] = Section(_words(name), inner.get("description", ""), fields)
    return found


def _field(name: str, part: Mapping[str, Any], required: bool) -> Field:
    kinds = {one.get("type"): one for one in part.get("anyOf", [part])}
    value, limits = part.get("default"), next(iter(kinds.values()))
    field = Field(
        name=name,
        label=LABELS.get(name) or _words(name.rpartition(".")[2]),
        kind="text",
        help=part.get("description", ""),
        value=value,
        required=required,
        least=limits.get("minimum", limits.get("exclusiveMinimum")),
        most=limits.get("maximum", limits.get("exclusiveMaximum")),
        pattern=part.get("pattern", "").strip("^$").replace("-]", "\\-]") or None,  # as browsers want it
    )
    if "boolean" in kinds:
        return replace(field, kind="flag")
    if "array" in kinds:
        items = kinds["array"].get("items", {})
        if "prefixItems" in kinds["array"]:
            return replace(field, kind="range")
        return replace(field, kind="choices" if "enum" in items else "lines", options=items.get("enum", ()))
    if "enum" in part:
        return replace(field, kind="choice", options=part["enum"])
    if "integer" in kinds:
        return replace(field, kind="integer")
    if "string" in kinds and "number" in kinds:
        return replace(field, kind="duration")
    return replace(field, kind="number") if "number" in kinds else field


def _words(name: str) -> str:
    words = name.replace("_", " ").replace("dft", "DFT").replace("sa ", "SA ")
    return f"{words[:1].upper()}{words[1:]}"


def _form(sections: Mapping[str, Section], values: Values, problems: Sequence[str]) -> Form:
    by_field: dict[str, str] = {}
    left = []
    names = [field.name for field in _every(sections)]
    for line in problems:
        where, colon, what = line.partition(": ")
        name = next((name for name in names if colon and (where == name or where.startswith(f"{name}."))), None)
        if name is None:
            left.append(line)
        else:
            by_field[name] = what

    def shown(field: Field) -> Field:
        value = field.value
        if values:
            texts = list(values.get(field.name, ()))
            match field.kind:
                case "flag":
                    value = bool(texts)
                case "choices" | "range":
                    value = texts
                case "lines":
                    value = "\n".join(texts).splitlines()
                case _:
                    value = texts[0] if texts else None
        return replace(field, value=value, problem=by_field.get(field.name))

    known = {field.name: shown(field) for field in _every(sections)}
    rest = [
        replace(section, title=section.title or "Other", fields=fields)
        for name, section in sections.items()
        if (fields := [known[field.name] for field in section.fields if field.name not in FIRST])
    ]
    rest.sort(key=lambda section: section.title == "Other")
    return Form([known[name] for name in FIRST], rest, left)
