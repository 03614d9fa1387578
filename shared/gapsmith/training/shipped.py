"""The weights that come with the installation: one file for each role, found by entry points. Reads without torch."""

from collections.abc import Collection
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.settings import Settings, settings
from gapsmith.training.card import card_alone, domain_of

ENTRY_POINT_GROUP: Final = "gapsmith.weights"  # name: the role; value: the path of its weights


def roles() -> tuple[str, ...]:
    """Every role that weights are installed for."""
    return tuple(sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)}))


def shipped(role: str, own: Settings) -> Path:
    """The weights that go live if no others are: those that the settings name, or else the installed ones.

    Raises:
        InputError: no weights are installed for the role.
    """
    named: Path | None = getattr(own, f"{role}_weights", None)
    if named is not None:
        return named
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == role:
            return Path(point.load())
    raise InputError(f"no weights are installed for the role {role!r}; there are weights for: {', '.join(roles())}")


def shipped_domains(left_out: Collection[str] = ()) -> dict[str, ModelDomain]:
    """What the shipped models know, by role; raises CheckpointError if a card is missing or damaged."""
    cards = {role: shipped(role, settings()) for role in roles() if role not in left_out}
    return {role: domain_of(card_alone(path), path) for role, path in cards.items()}
