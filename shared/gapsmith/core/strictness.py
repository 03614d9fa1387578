"""What every model of a document refuses beyond its fields' own limits: true and false where numbers are wanted."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Strict(BaseModel):
    """Base of models that people write: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_as_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = str(cls.model_fields[info.field_name or ""].annotation)
        if "bool" not in wanted and "Any" not in wanted and any(isinstance(one, bool) for one in _values(value)):
            raise ValueError("true and false stand for no number and no text; put a text in quotes")
        return value


def _values(value: Any) -> Iterator[Any]:
    """A value, or those that a list holds."""
    if isinstance(value, list | tuple):
        yield from value
    else:
        yield value
