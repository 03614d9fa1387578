"""A question about candidates as data: the same for the command line, the API, its client and the pages."""

import hashlib
import math
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gapsmith.core import columns
from gapsmith.core.columns import SIMILARITY
from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.core.lifecycle import CandidateState
from gapsmith.core.patterns import Smarts, Smiles

LEAST_SIMILARITY: Final = 0.4
CREATED: Final = columns.BY_NAME["created_at"].key


class Range(BaseModel):
    """A closed range, open where an end is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a range needs at least one end")
        if any(end is not None and not math.isfinite(end) for end in (self.low, self.high)):
            raise ValueError("the ends of a range must be finite numbers")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.low:g}:{self.high:g} runs backwards")
        return self

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Read ``3.9:4.1``, ``:4.1`` or ``3.9:``; raises InputError naming the field."""
        low, colon, high = (part.strip() for part in text.partition(":"))
        try:
            if not colon:
                raise ValueError("a range has a colon")
            return cls(low=float(low) if low else None, high=float(high) if high else None)
        except ValueError as error:  # pydantic's error is one
            raise InputError(f"{field}: {text!r} is no range; write for example 3.9:4.1, :4.1 or 3.9:") from error

    @classmethod
    def between(cls, low: float | None, high: float | None, field: str) -> Self | None:
        """A range of two ends, None without any; raises InputError naming the field."""
        if low is None and high is None:
            return None
        try:
            return cls(low=low, high=high)
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            raise InputError(f"{field}: {message}; the least comes first, for example 3.9 and 4.1") from error


class CandidateQuery(BaseModel):
    """Which candidates, in which order. What is None does not restrict."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    campaign: str | None = Field(None, description="name of a campaign")
    states: tuple[CandidateState, ...] = Field((), description="any of these; none: all")
    hits: bool = Field(False, description="only with a DFT gap inside the campaign's window")
    ranges: dict[str, Range] = Field({}, description="by the name of a filterable column")
    in_qm9: bool | None = Field(None, description="whether the molecule is in the training data")
    smarts: Smarts | None = Field(None, description="substructure")
    similar_to: Smiles | None = Field(None, description="SMILES of a molecule")
    min_similarity: Annotated[float, Field(ge=0, le=1)] = Field(
        LEAST_SIMILARITY, description="least Tanimoto similarity of Morgan fingerprints (radius 2, 2048 bits) to it"
    )
    sort: str | None = Field(
        None, description="key of a sortable column; none: most similar first with similar_to, else as created"
    )
    descending: bool = False
    limit: Annotated[int, Field(gt=0)] | None = Field(None, description="at most so many rows")
    fields: tuple[str, ...] = Field((), description="columns, in this order; none: all")

    @field_validator("campaign")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("no name has the character 0")
        return value

    @field_validator("ranges")
    @classmethod
    def _filterable(cls, value: dict[str, Range]) -> dict[str, Range]:
        known = [column.name for column in columns.RANGES]
        for name in value:
            if name not in known:
                raise ValueError(f"{name!r} is not a column with a range{hint(name, known)}")
        return {name: value[name] for name in known if name in value}  # one question has one digest

    @field_validator("sort")
    @classmethod
    def _sortable(cls, value: str | None) -> str | None:
        if value is not None and value not in columns.SORTABLE:
            raise ValueError(f"candidates cannot be sorted by {value!r}{hint(value, columns.SORTABLE)}")
        return value

    @field_validator("fields")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in columns.BY_NAME:
                raise ValueError(f"{name!r} is not a column{hint(name, columns.BY_NAME)}")
        if len(set(value)) < len(value):
            raise ValueError("a column is named twice")
        return value

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.similar_to is None and (self.sort == SIMILARITY or SIMILARITY in self.fields):
            raise ValueError("similarity needs similar_to: similar to which molecule?")
        return self

    @classmethod
    def ask(cls, **values: Any) -> Self:
        """A question of values by name; raises InputError that names the field."""
        try:
            return cls(**values)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            message = str(problem["msg"]).removeprefix("Value error, ")
            where = ".".join(str(part) for part in problem["loc"])
            raise InputError(f"{where}: {message}" if where else message) from error

    @property
    def order(self) -> tuple[str, bool]:
        """What rows are sorted by, and whether the largest come first."""
        if self.sort is not None:
            return self.sort, self.descending
        return (SIMILARITY, True) if self.similar_to is not None else (CREATED, self.descending)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the answer."""
        return self.fields or tuple(
            name for name in columns.BY_NAME if name != SIMILARITY or self.similar_to is not None
        )

    @property
    def digest(self) -> str:
        """Short hash of everything but the size and columns of the answer: a cursor belongs to one question."""
        text = self.model_dump_json(exclude={"limit", "fields"})
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def parse_states(text: str | None, field: str) -> tuple[tuple[CandidateState, ...], bool]:
    """States that a text selects, and whether only hits are wanted.

    ``labelled`` is whatever has a DFT label, certified ones included; ``hit`` is labelled inside the window; ``all`` are all;
    without a text all but the rejected.

    Raises:
        InputError: it names no state.
    """
    if text is None:
        return tuple(state for state in CandidateState if state is not CandidateState.REJECTED), False
    names = [name.strip().lower() for name in text.split(",")]
    if names == ["all"]:
        return (), False
    hits = names in (["hit"], ["hits"])
    selected: list[CandidateState] = []
    for name in ["labelled"] if hits else names:
        if name not in list(CandidateState):
            raise InputError(f"{field}: {name!r} is not a state{hint(name, [*CandidateState, 'hit', 'all'])}")
        selected.append(CandidateState(name))
        if name == CandidateState.LABELLED:
            selected.append(CandidateState.CERTIFIED)
    return tuple(dict.fromkeys(selected)), hits


def parse_sort(text: str | None) -> tuple[str | None, bool]:
    """A key to sort by, and whether the largest come first, which a minus before it says."""
    name = None if text is None else text.strip()
    return (None, False) if not name else (name.removeprefix("-"), name.startswith("-"))


def parse_fields(text: str | None) -> tuple[str, ...]:
    """Names of columns, separated by commas; ``CandidateQuery`` checks them."""
    return tuple(name.strip() for name in text.split(",")) if text else ()
