"""One thing that a campaign wants: a window on a property, or as little or as much of it as possible."""

import builtins
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from gapsmith.core import properties, units
from gapsmith.core.errors import InputError
from gapsmith.core.properties import Property
from gapsmith.core.strictness import Strict

MOST_TOLERANCE: Final = 1 / 6  # of what is possible
STEP: Final = 1 / 20  # of the usual range: a small step of a property, the scale of a limit on one side
NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Window:
    """A wanted range in a property's own unit, ends included; one of them may be infinite."""

    low: float = -math.inf
    high: float = math.inf
    scale: float = 1.0  # half the width; of a limit on one side, a small step of the property

    @classmethod
    def around(cls, value: float, tolerance: float) -> "Window":
        """Value ± tolerance; its ends are those of the decimal numbers as written: 4.1 ± 0.1 ends at 4.2 exactly."""
        middle, half = Decimal(str(value)), Decimal(str(tolerance))
        return cls(float(middle - half), float(middle + half), tolerance)

    @property
    def middle(self) -> float:
        """What to aim at: the middle, or a small step inside of the one limit that there is."""
        if math.isinf(self.low) or math.isinf(self.high):
            return self.high - self.scale if math.isinf(self.low) else self.low + self.scale
        return float((Decimal(str(self.low)) + Decimal(str(self.high))) / 2)

    def violation(self, value: float) -> float:
        """How far outside a value is, in units of the scale; at most 0 inside, and least in the middle."""
        return max(self.low - value, value - self.high) / self.scale

    def holds(self, value: float) -> bool:
        """Whether a value is inside."""
        return self.violation(value) <= 0


class Wanted(Strict):
    """A window on a property, or the wish for as little or as much of it as possible."""

    property: str = Field(
        "gap",
        description="property to aim at, for example gap, homo or dipole",
        json_schema_extra=lambda schema: schema.update(enum=list(properties.registered())),
    )
    unit: str = Field("", validate_default=True, description="unit of the numbers; by default the property's own")
    value: float | None = Field(None, allow_inf_nan=False, description="its wanted value")
    tolerance: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        validate_default=True,
        description="a hit lies within value ± tolerance; 0.1 by default",
    )
    between: tuple[float, float] | None = Field(None, description="or: a hit lies between these two, ends included")
    below: float | None = Field(None, allow_inf_nan=False, description="or: a hit lies below this, or at it")
    above: float | None = Field(None, allow_inf_nan=False, description="or: a hit lies above this, or at it")
    minimise: bool = Field(
        False, description="or: of the molecules that hold all windows, those with the least are best"
    )
    maximise: bool = Field(
        False, description="or: of the molecules that hold all windows, those with the most are best"
    )
    weight: float = Field(1.0, gt=0, le=1000, description="of minimise or maximise, in the ranking")

    @field_validator("property")
    @classmethod
    def _registered(cls, value: str) -> str:
        try:
            return properties.get(value).name
        except InputError as error:
            raise ValueError(str(error)) from error

    @field_validator("unit")
    @classmethod
    def _unit(cls, value: str, info: ValidationInfo) -> str:
        if "property" not in info.data:  # which is refused already
            return value
        kind = properties.get(info.data["property"])
        allowed = units.convertible(kind.unit, wavelength=kind.wavelength)
        if value and value not in allowed:
            raise ValueError(f"{kind.name} is measured in {' or '.join(allowed) or 'no unit'}, not in {value}")
        return value or kind.unit

    @field_validator("value", "between", "below", "above")
    @classmethod
    def _possible(
        cls, value: float | tuple[float, float] | None, info: ValidationInfo
    ) -> float | tuple[float, float] | None:
        if value is None or "unit" not in info.data or "property" not in info.data:
            return value
        kind, unit = properties.get(info.data["property"]), info.data["unit"]
        low, high = kind.possible
        for one in value if isinstance(value, tuple) else (value,):
            own = units.convert(one, unit, kind.unit)
            if not low <= own <= high:
                shown = f"{one:g}" if unit == kind.unit else f"{one:g} {unit}, {own:g} {kind.unit},"
                raise ValueError(
                    f"{shown} is not a possible {kind.name}: it lies within {low:g} and {high:g} {kind.unit}"
                )
        if isinstance(value, tuple):
            if not value[0] < value[1]:
                raise ValueError(f"{list(value)} is not a range: write the lower end and then the upper one")
            ends = [units.convert(one, unit, kind.unit) for one in value]
            _check_width(kind, abs(ends[1] - ends[0]) / 2, f"half of {list(value)}")
        return value

    @field_validator("tolerance")
    @classmethod
    def _narrow(cls, value: float | None, info: ValidationInfo) -> float | None:
        if "unit" not in info.data or "property" not in info.data or info.data.get("value") is None:
            return value
        kind, unit, middle = properties.get(info.data["property"]), info.data["unit"], info.data["value"]
        if value is None:
            if unit != kind.unit:
                raise ValueError(f"missing: say how far from {middle:g} {unit} a hit may be, in {unit}")
            return 0.1
        if unit == units.WAVELENGTH and value >= middle:
            raise ValueError(f"{value:g} is too wide: {middle:g} - {value:g} nm is not a wavelength")
        ends = [units.convert(middle + sign * value, unit, kind.unit) for sign in (-1, 1)]
        _check_width(kind, value if unit == kind.unit else abs(ends[1] - ends[0]) / 2, f"{value:g}")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "nothing is"
            raise ValueError(f"exactly one of {', '.join(KINDS)} says what is wanted of {self.property}; {found}")
        if self.tolerance is not None and self.value is None:
            raise ValueError(f"tolerance goes with value, not with {given[0]}")
        if self.weight != 1.0 and not self.direction:
            raise ValueError(f"weight goes with minimise or maximise, not with {given[0]}: all windows must hold")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was said, and no more."""
        found: dict[str, Any] = handler(self)
        return {k: v for k, v in found.items() if v not in (None, False) and (k != "weight" or self.direction)}

    @builtins.property  # the field above hides the name
    def kind(self) -> Property:
        """The property."""
        return properties.get(self.property)

    @builtins.property
    def direction(self) -> int:
        """1: the more the better, -1: the less the better, 0: a window."""
        return int(self.maximise) - int(self.minimise)

    @builtins.property
    def usual_range(self) -> float:
        """Width of what is usual for the property, in its own unit."""
        return self.kind.usual[1] - self.kind.usual[0]

    @builtins.property
    def window(self) -> Window | None:
        """The wanted range in the property's own unit; None: there is none."""
        kind = self.kind
        if self.value is not None and self.unit == kind.unit:
            return Window.around(self.value, self.tolerance or 0.1)
        if self.direction:
            return None
        if self.value is not None and self.tolerance is not None:
            ends: tuple[float | None, float | None] = (self.value - self.tolerance, self.value + self.tolerance)
        else:
            ends = self.between or (self.above, self.below)
        low, high = (None if one is None else units.convert(one, self.unit, kind.unit) for one in ends)
        if self.unit == units.WAVELENGTH:
            low, high = high, low
        step = STEP * self.usual_range
        return Window(
            -math.inf if low is None else low,
            math.inf if high is None else high,
            step if low is None or high is None else float((Decimal(str(high)) - Decimal(str(low))) / 2),
        )

    @builtins.property
    def text(self) -> str:
        """As the command line and the forms take it: ``homo below -5.5 eV``."""
        return self._words(self.property)

    def __str__(self) -> str:
        """For people, for example ``gap 4 ± 0.1 eV``, ``HOMO below -5.5 eV``, ``minimise dipole``."""
        window, words = self.window, self._words(self.kind.noun)
        if window is None or self.unit == self.kind.unit:
            return words
        ends = [f"{one:.4g}" for one in (window.low, window.high) if math.isfinite(one)]
        return f"{words} ({' to '.join(ends)} {self.kind.unit})"

    def _words(self, name: str) -> str:
        if self.direction:
            heavy = f" weight {self.weight:g}" if self.weight != 1.0 else ""
            return f"{'minimise' if self.minimise else 'maximise'} {name}{heavy}"
        if self.value is not None:
            said = f"{self.value:g} ± {self.tolerance:g}"
        elif self.between is not None:
            said = f"between {self.between[0]:g} and {self.between[1]:g}"
        else:
            said = f"below {self.below:g}" if self.below is not None else f"above {self.above:g}"
        return f"{name} {said} {self.unit}".rstrip()


KINDS: Final = ("value", "between", "below", "above", "minimise", "maximise")
_FORMS: Final = (  # of a text
    re.compile(rf"(?P<property>\w+) (?P<value>{NUMBER}) ?(?:±|\+/?-) ?(?P<tolerance>{NUMBER})(?: (?P<unit>\S+))?"),
    re.compile(rf"(?P<property>\w+) (?:between )?(?P<low>{NUMBER}) (?:and|to) (?P<high>{NUMBER})(?: (?P<unit>\S+))?"),
    re.compile(rf"(?P<property>\w+) ?(?P<side>below|above|<=?|>=?) ?(?P<limit>{NUMBER})(?: (?P<unit>\S+))?"),
    re.compile(rf"(?P<way>mini|maxi)mi[sz]e (?P<property>\w+)(?:,? weight (?P<weight>{NUMBER}))?"),
)  # fmt: skip
FORMS: Final = (
    "write for example 'gap 4 ± 0.1 eV' (or +-), 'gap between 2.3 and 2.7 eV', 'homo below -5.5', 'lumo above 1', "
    "'minimise dipole' or 'maximise s1 weight 0.5'"
)


def read_text(text: str) -> dict[str, Any]:
    """One wanted thing as a campaign file has it, from one line of text; raises InputError that shows how to write it."""
    line = " ".join(text.split())
    for form in _FORMS:
        if (found := form.fullmatch(line)) is None:
            continue
        said = {key: one for key, one in found.groupdict().items() if one is not None}
        raw: dict[str, Any] = {key: said[key] for key in ("unit",) if key in said}
        raw["property"] = said["property"] if said["property"] in properties.registered() else said["property"].lower()
        raw |= {key: float(said[key]) for key in ("value", "tolerance", "weight") if key in said}
        if "low" in said:
            raw["between"] = [float(said["low"]), float(said["high"])]
        if "side" in said:
            raw["below" if said["side"] in ("below", "<", "<=") else "above"] = float(said["limit"])
        if "way" in said:
            raw[f"{said['way']}mise"] = True
        return raw
    raise InputError(f"{text[:80]!r} does not say what is wanted; {FORMS}")


def _check_width(kind: Property, half: float, shown: str) -> None:
    most = (kind.possible[1] - kind.possible[0]) * MOST_TOLERANCE
    if half > most:
        raise ValueError(f"{shown} is too wide for {kind.name}; at most {most:g} {kind.unit}")
