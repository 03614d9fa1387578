"""What a campaign wants: windows that must all hold, and what ranks the molecules of which they do. A hit is defined here."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import ge
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, ConfigDict, RootModel, model_validator

from gapsmith.core import properties
from gapsmith.core.properties import Property
from gapsmith.core.wanted import Wanted, Window

MOST_WANTED: Final = 12
MOST_OBJECTIVES: Final = 2  # more have no front that can be drawn


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping | Wanted):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError("write one thing that is wanted, for example {property: gap, value: 4}, or a list of such")
    return value


class Target(
    RootModel[
        Annotated[
            tuple[Wanted, ...],
            BeforeValidator(_listed, json_schema_input_type=Wanted | tuple[Wanted, ...]),
        ]
    ]
):
    """What is wanted: one thing, or a list of which all windows must hold."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(self.root) > MOST_WANTED:
            raise ValueError(f"{len(self.root)} things are wanted; at most {MOST_WANTED} can be")
        windows = self.windows
        if not windows:
            raise ValueError("at least one window is needed (value, between, below or above): it says what a hit is")
        ranked = [one.property for one in self.objectives]
        if len(ranked) > MOST_OBJECTIVES or len(set(ranked)) < len(ranked):
            raise ValueError(f"minimise and maximise can be said of {MOST_OBJECTIVES} different properties at most")
        for name, window in windows.items():
            if window.low > window.high:
                both = " and ".join(str(one) for one in self.root if one.property == name)
                raise ValueError(f"{both} exclude each other")
        for kind in properties.registered().values():
            self._agrees(kind)
        return self

    def _agrees(self, kind: Property) -> None:
        """Raise ValueError if a window contradicts those of the properties that its own is a sum of."""
        window, sum_of = self.windows.get(kind.name), kind.sum_of
        if window is None or not any(name in self.windows for name in sum_of):
            return
        low = high = 0.0
        for name, weight in sum_of.items():
            least, most = properties.get(name).possible
            part = self.windows.get(name, Window())
            ends = weight * max(part.low, least), weight * min(part.high, most)
            low, high = low + min(ends), high + max(ends)
        if low > window.high or high < window.low:
            given = [str(one) for one in self.root if one.property in sum_of and not one.direction]
            raise ValueError(
                f"{' and '.join(given)} exclude {' and '.join(str(one) for one in self.root if one.property == kind.name)}: "
                f"the {kind.noun} would lie within {low:.4g} and {high:.4g} {kind.unit}"
            )

    @cached_property
    def windows(self) -> dict[str, Window]:
        """By property, in its own unit; what is said twice of one must hold twice."""
        found: dict[str, Window] = {}
        for one in self.root:
            if (window := one.window) is not None:
                if (other := found.get(one.property)) is not None:
                    low, high = max(window.low, other.low), min(window.high, other.high)
                    half = (high - low) / 2
                    scale = half if 0 < half < math.inf else min(window.scale, other.scale)
                    window = Window(low, high, scale)
                found[one.property] = window
        return found

    @property
    def objectives(self) -> tuple[Wanted, ...]:
        """What ranks the molecules that hold all windows."""
        return tuple(one for one in self.root if one.direction)

    @property
    def properties(self) -> tuple[Property, ...]:
        """All that are named, those with windows first."""
        names = [*self.windows, *(one.property for one in self.objectives)]
        return tuple(properties.get(name) for name in dict.fromkeys(names))

    @property
    def main(self) -> Property:
        """The first one with a window: what pictures of a single property show."""
        return self.properties[0]

    @property
    def window(self) -> Window:
        """Of the main property."""
        return self.windows[self.main.name]

    @property
    def aims(self) -> dict[str, float]:
        """What a generator is asked for: the middle of each window, by name with unit."""
        return {properties.get(name).column: window.middle for name, window in self.windows.items()}

    def violation(self, values: Mapping[str, float]) -> float | None:
        """How far a molecule is from holding all windows, by that which it violates most: a hit has at most 0.

        Args:
            values: by property, each in its own unit.

        Returns:
            In units of the windows' scales; None where a value is not known.
        """
        if any(name not in values for name in self.windows):
            return None
        return max(window.violation(values[name]) for name, window in self.windows.items())

    def hit(self, values: Mapping[str, float]) -> bool:
        """Whether a molecule holds all windows."""
        violation = self.violation(values)
        return violation is not None and violation <= 0

    def utilities(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """Each objective in units of its property's usual range, the more the better; raises KeyError."""
        return tuple(one.direction * values[one.property] / one.usual_range for one in self.objectives)

    def merit(self, values: Mapping[str, float]) -> float:
        """What ranks hits: the weighted sum of the objectives; 0 without any, and least where a value is not known."""
        if any(one.property not in values for one in self.objectives):
            return -math.inf
        return sum(one.weight * gain for one, gain in zip(self.objectives, self.utilities(values), strict=True))

    def front(self, hits: Sequence[Mapping[str, float]]) -> list[int]:
        """Which hits are on the Pareto front: no other one is at least as good in all objectives and better in one."""
        known = [self.utilities(one) if self.merit(one) > -math.inf else None for one in hits]
        return [
            index
            for index, own in enumerate(known)
            if own is not None
            and not any(other != own and all(map(ge, other, own)) for other in known if other is not None)
        ]

    def shown(self, values: Mapping[str, float], decimals: int = 2) -> str:
        """Its values of all that is named, for people: ``4.02 eV``, or ``gap 2.51 eV, HOMO -5.72 eV``."""
        found = [(one, values[one.name]) for one in self.properties if one.name in values]
        single = len(self.properties) == 1
        return ", ".join(
            f"{'' if single else one.noun + ' '}{value:.{decimals}f} {one.unit}".rstrip() for one, value in found
        )

    def __str__(self) -> str:
        """For people: ``gap 4 ± 0.1 eV``, ``gap 4 ± 0.1 eV, HOMO below -5.5 eV, minimise dipole``."""
        return ", ".join(str(one) for one in self.root)
