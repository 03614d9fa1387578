"""Alerts and hazards: named classes of molecules that campaigns refuse, out of one file. Reads without RDKit.

Alerts are about stability and can be switched one by one; the screen for hazards is on unless a campaign turns it off.
"""

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import Field, TypeAdapter

from gapsmith.core import documents
from gapsmith.core.patterns import Smarts
from gapsmith.core.strictness import Strict

SHIPPED: Final = Path(__file__).with_name("alerts.yaml")
DEFAULT: Final = "default"  # all alerts


class Alert(Strict):
    """A class of molecules that is refused."""

    why: str
    smarts: tuple[Smarts, ...] = Field(min_length=1)


class Hazard(Alert):
    """A class that is refused for safety."""

    source: str
    groups: int = Field(1, ge=1)  # fewest matches
    share: float = Field(0.0, ge=0, le=1)  # least share of the atoms other than hydrogen that are in matches


class _File(Strict):
    alerts: dict[str, Alert]
    hazards: dict[str, Hazard]


@cache
def _shipped() -> _File:
    return TypeAdapter(_File).validate_python(documents.read(SHIPPED))


def alerts() -> dict[str, Alert]:
    """All alerts by name."""
    return _shipped().alerts


def hazards() -> dict[str, Hazard]:
    """All hazards by name."""
    return _shipped().hazards


def chosen(switches: Sequence[str]) -> tuple[str, ...]:
    """Names of the alerts that are on.

    Args:
        switches: ``default`` for all, a name for one, ``-name`` to switch one off again.

    Raises:
        ValueError: there is no such alert.
    """
    known = alerts()
    on: dict[str, None] = {}
    for switch in switches:
        name = switch.removeprefix("-")
        if name != DEFAULT and name not in known:
            near = difflib.get_close_matches(name, [DEFAULT, *known], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {DEFAULT}, {', '.join(known)}"
            raise ValueError(f"{documents.shown(switch)} is not an alert; {hint}")
        names = list(known) if name == DEFAULT else [name]
        for one in names:
            if switch.startswith("-"):
                on.pop(one, None)
            else:
                on[one] = None
    return tuple(on)
