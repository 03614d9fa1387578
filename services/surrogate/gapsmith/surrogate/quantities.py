"""What networks can have heads of: the quantities that the installed sources have labels of."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from gapsmith.core.errors import InputError
from gapsmith.core.units import base_unit
from gapsmith.data.imported import AT, label_of
from gapsmith.data.sources import Label, Source, registered

FRONTIER: Final = ("homo", "lumo", "gap")  # two of them are predicted, the LUMO is the sum of the others
ENERGY_OF_FORCES: Final = "gfn2_energy"  # whose gradient the forces are
FORCES: Final = "gfn2_forces"


@cache
def quantities() -> Mapping[str, Label]:
    """All of them by name, in the order of a network's heads; units and levels are those of the first source.

    Those of shipped sources come first, others by name, so that the order does not depend on what else is installed.

    Raises:
        InputError: two sources contradict each other.
    """
    shipped: dict[str, Label] = {}
    others: dict[str, Label] = {}
    for source in registered().values():
        for name, label in source.labels.items():
            first = shipped.get(name) or others.get(name)
            if first is None:
                (shipped if source.rank < Source.rank else others)[name] = label
            elif (first.form, first.dimension) != (label.form, label.dimension):
                raise InputError(
                    f"source {source.name} has {name} as {label.form} {label.dimension}, other sources have it as "
                    f"{first.form} {first.dimension}: call it by another name"
                )
    return {**shipped, **dict(sorted(others.items()))}


def quantity(name: str) -> Label:
    """What a head predicts, also one of a level of its own (``gap@pbe0``); raises KeyError, or InputError of the latter."""
    base, own, _ = name.partition(AT)
    return label_of(base) if own else quantities()[name]


def column(head: str) -> str:
    """A head's name with its base unit, e.g. ``gap_ev`` or ``gap_pbe0_ev``."""
    return f"{stem(head)}_{base_unit(quantity(head).dimension).suffix}"


def stem(head: str) -> str:
    """A head's name as a part of names of columns."""
    return head.replace(AT, "_").replace("-", "_")
