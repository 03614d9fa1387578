"""The campaign file: one validated model, exported as JSON schema, unknown keys refused with the nearest known one."""

import difflib
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from gapsmith.core import documents
from gapsmith.core.alerts import DEFAULT, chosen
from gapsmith.core.chemistry.elements import number_of
from gapsmith.core.errors import InputError
from gapsmith.core.patterns import Smarts
from gapsmith.core.strictness import Strict
from gapsmith.core.target import Target
from gapsmith.core.wanted import Wanted

LONGEST = timedelta(days=3650)
MOST_HEAVY_ATOMS = 100_000


class Section(Strict):
    """A part of the campaign file."""


def _duration(value: object) -> object:
    """Seconds of ``90``, ``"90s"``, ``"15m"``, ``"1h30m"``, ``"2d"``."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _seconds(value)
    if isinstance(value, str) and (
        match := re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value.strip())
    ):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        if any(match.groups()):
            return _seconds(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    raise ValueError(f"{documents.shown(value)} is not a duration; write seconds, or for example 90s, 15m, 1h30m")


def _seconds(value: float) -> timedelta:
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{documents.shown(value)} seconds are no duration that a calendar has") from error


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str | float),
    PlainSerializer(lambda value: value.total_seconds(), return_type=float, when_used="json"),
]


def _symbol(value: str) -> str:
    if value == "H":
        raise ValueError("hydrogen is always allowed and need not be named")
    try:
        number_of(value)
    except InputError as error:
        raise ValueError(str(error)) from error
    return value


Symbol = Annotated[str, AfterValidator(_symbol)]


Patterns = Annotated[tuple[Smarts, ...], Field(max_length=100)]


DataName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


class Constraints(Section):
    """Which molecules are allowed."""

    elements: tuple[Symbol, ...] | None = Field(
        None, min_length=1, description="besides hydrogen, for example [C, N, O]; all that the models know if not given"
    )
    heavy_atoms: tuple[int, int] | None = Field(
        None, description="fewest and most atoms other than hydrogen; all that the models know if not given"
    )
    sa_score: float = Field(6.0, ge=1, le=10, description="most synthetic accessibility score (1 easy, 10 hard)")
    forbidden_smarts: Patterns = Field((), description="no molecule may match any of these")
    required_smarts: Patterns = Field((), description="every molecule must match all of these")
    novel: bool = Field(False, description="refuse molecules that are in QM9, the models' training data")
    alerts: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=100)] = Field(
        (DEFAULT,), description="unstable groups to refuse: default for all, a name for one, -name for all but one"
    )
    hazards: Literal["refuse", "off"] = Field(
        "refuse", description="whether to refuse molecules of hazardous classes; off is recorded"
    )

    @field_validator("heavy_atoms")
    @classmethod
    def _ordered(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 1 <= value[0] <= value[1] <= MOST_HEAVY_ATOMS:
            raise ValueError(
                f"{list(value)} is not a range: write the fewest, at least 1, and then the most, at most {MOST_HEAVY_ATOMS}"
            )
        return value

    @field_validator("alerts")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        chosen(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = set(self.forbidden_smarts) & set(self.required_smarts)
        if both:
            raise ValueError(f"{sorted(both)[0]!r} is both forbidden and required")
        return self


class Budget(Section):
    """When to stop: at the first of these."""

    dft_jobs: int = Field(16, gt=0, le=1_000_000, description="triage calculations, failures included")
    wall_time: Duration = Field(
        timedelta(minutes=15),
        description="seconds, or for example 90s, 15m, 1h30m",
        json_schema_extra={"default": "15m"},
    )
    wanted_hits: int | None = Field(None, gt=0, le=1_000_000, description="enough hits; without it the budget is spent")

    @field_validator("wall_time")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        return _more_than_nothing("wall_time", value)


class Acquisition(Section):
    """How candidates are chosen for DFT."""

    strategy: Literal["probability", "nearest", "random"] = Field(
        "probability", description="probability of landing in the window, nearest predicted mean, or random"
    )
    diversity: float = Field(0.3, ge=0, le=1, description="weight of Tanimoto distance to what was chosen before")
    pool: int = Field(64, gt=0, le=100_000, description="scored candidates to hold ready before DFT starts")


class Exploration(Section):
    """Where candidates come from."""

    regrown_share: float = Field(
        0.5, ge=0, le=1, description="share that regrows the best found so far; the rest is de novo"
    )
    mask_fraction: float = Field(
        0.4, gt=0, le=1, description="part of a parent that is redrawn: small polishes, 1 redraws"
    )
    batch: int = Field(64, gt=0, le=10_000, description="molecules drawn per request")


class Dft(Section):
    """The level of theory that decides."""

    certify: bool = Field(True, description="relax hits at the DFT level and compute them again")


class Retraining(Section):
    """When models learn from the labels: at the first of the three, and one training at a time."""

    enabled: bool = Field(True, description="false: no model is trained, and those that are live stay as they are")
    models: tuple[Literal["surrogate", "generator"], ...] = Field(
        ("surrogate",), min_length=1, description="which models are trained; what is not named stays as it is"
    )
    every_labels: int = Field(8, gt=0, le=1_000_000, description="new labels that start a training")
    drift: float | None = Field(
        None,
        gt=1,
        le=1000,
        description="also when new labels' errors are so many times as large as predicted (4 labels or more)",
    )
    every: Duration | None = Field(
        None, description="also after so long with new labels: seconds, or for example 10m, 1h30m"
    )
    steps: int = Field(150, gt=0, le=1_000_000, description="optimiser steps of a training")
    processes: int = Field(1, gt=0, le=1024, description="data-parallel processes; more than one needs Horovod")

    @field_validator("models")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"{list(value)} names a model twice")
        return value

    @field_validator("every")
    @classmethod
    def _positive(cls, value: timedelta | None) -> timedelta | None:
        return None if value is None else _more_than_nothing("every", value)


class CampaignConfig(Section):
    """A whole campaign file."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="letters, digits, dot, dash, underscore"
    )
    target: Target
    constraints: Constraints = Constraints()
    budget: Budget = Budget()
    acquisition: Acquisition = Acquisition()
    exploration: Exploration = Exploration()
    dft: Dft = Dft()
    retraining: Retraining = Retraining()
    data: tuple[DataName, ...] = Field(
        (), max_length=20, description="imported data sets (gapsmith data import) that the surrogate learns from, too"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of all random choices")

    @model_validator(mode="after")
    def _learned(self) -> Self:
        if self.data and not (self.retraining.enabled and "surrogate" in self.retraining.models):
            raise ValueError(f"data: {', '.join(self.data)} would not be learned: retraining of the surrogate is off")
        return self


def _more_than_nothing(name: str, value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST:
        raise ValueError(f"{name} must be more than nothing and at most {LONGEST.days} days")
    return value


def read_campaign(path: Path) -> CampaignConfig:
    """Read and validate a campaign file; raises InputError naming file, field, value and what is allowed."""
    try:
        text = documents.read_text(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; examples/quickstart.yaml is a campaign file to start from") from error
    raw = documents.parse(text, str(path), kind="YAML")
    try:
        return parse_campaign(raw)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def section_of(schema: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section that a key of the campaign file's JSON schema holds, or a list of which; None: it holds a value."""
    found: dict[str, Any] | None = schema["$defs"].get(part.get("$ref", "").rpartition("/")[2])
    if found is not None and "anyOf" in found:  # one, or a list of such
        return section_of(schema, found["anyOf"][0])
    return found


def as_file(config: CampaignConfig) -> str:
    """The campaign's file: what differs from the defaults, as YAML that reads back as the same campaign."""
    import yaml

    found = config.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


def cloned(config: CampaignConfig, name: str, seed: int | None = None) -> CampaignConfig:
    """The same campaign under another name, with random choices of its own unless a seed is given; raises InputError."""
    chosen = secrets.randbelow(2**31) if seed is None else seed
    return parse_campaign(config.model_dump(mode="json") | {"name": name, "seed": chosen})


def changed_budget(config: CampaignConfig, changes: Mapping[str, Any]) -> Budget:
    """A campaign's budget with some keys changed, as its file writes them; raises InputError."""
    if not changes:
        raise InputError("say what changes: dft_jobs, wall_time or wanted_hits")
    document = config.model_dump(mode="json")
    document["budget"] |= changes
    return parse_campaign(document).budget


def changed_target(config: CampaignConfig, target: Mapping[str, Any] | Sequence[Any]) -> Target:
    """Another target of a campaign, as its file writes one; raises InputError."""
    return parse_campaign(config.model_dump(mode="json") | {"target": target}).target


def parse_campaign(raw: dict[str, Any]) -> CampaignConfig:
    """Validate a campaign, chemistry included; raises InputError with one line per problem."""
    try:
        return CampaignConfig.model_validate(raw)
    except ValidationError as error:
        single = isinstance(raw, Mapping) and isinstance(raw.get("target"), Mapping)
        lines = [_explain(problem, single=single) for problem in error.errors(include_url=False)]
        raise InputError("\n".join(lines)) from error


def _explain(problem: Any, *, single: bool) -> str:
    location = problem["loc"]
    if single and location[:2] == ("target", 0):  # the file has no list
        location = ("target", *location[2:])
    where = documents.place(location) or "the file"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = problem.get("input")
    shown = "" if isinstance(value, dict | BaseModel) or repr(value) in message else f" (got {documents.shown(value)})"
    return f"{where}: {message}{shown}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = CampaignConfig
    if location[:1] == ("target",):
        return sorted(Wanted.model_fields)
    for part in location:
        inner = model.model_fields[str(part)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return sorted(model.model_fields)
