"""Sources of training data as plug-ins of the group ``gapsmith.sources``: one class and one entry each.

A source holds molecules with geometries and labels, in splits that never change. Configurations of trainings name sources;
what a network can have heads of follows from what the installed sources have labels of.
"""

import hashlib
import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

import numpy as np

from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.core.units import UNITS
from gapsmith.data.molecules import Molecules

GROUP: Final = "gapsmith.sources"
SPLITS: Final = ("train", "validation", "test")  # that every source has
SHARES: Final = (0.8, 0.1, 0.1)  # of them, where ``split_by_hash`` divides
PYPROJECT: Final = Path(__file__).parents[3] / "pyproject.toml"

Form = Literal["intensive", "extensive", "dipole", "charge", "forces"]


@dataclass(frozen=True)
class Label:
    """What a source knows of one quantity."""

    unit: str  # of its values; one of ``core.units.UNITS``
    level: str  # of theory, as the field writes it
    form: Form = "intensive"  # of a whole molecule: intensive, extensive, dipole; of its atoms: charge, forces
    least: float = -math.inf  # no value lies below

    @property
    def kind(self) -> Literal["graph", "node"]:
        """Whether it belongs to molecules or to atoms."""
        return "node" if self.form in ("charge", "forces") else "graph"

    @property
    def dimension(self) -> str:
        """What is measured: energy, charge."""
        return UNITS[self.unit].dimension


class Source(ABC):
    """One source; the entry point's name is its own. With an argument, configurations write ``NAME:ARGUMENT``.

    Attributes:
        name: what configurations call it.
        title: for people.
        origin: where the data come from: paper, package, file.
        licence: of the data, as SPDX writes it.
        labels: by quantity; quantities of other sources keep their form and dimension.
        advice: what to do if nothing of a split is there; ``{split}`` stands for its name.
        rank: place among the sources; plug-ins come last.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    origin: ClassVar[str]
    licence: ClassVar[str]
    labels: Mapping[str, Label] = MappingProxyType({})
    advice: ClassVar[str] = "leave it out"
    rank: ClassVar[int] = 100

    @abstractmethod
    def load(self, split: str) -> Molecules | None:
        """Molecules of a split, the same ones in the same order each time, in the units of ``labels``; None: not there.

        Raises:
            InputError: the source has no such split.
            DataError: data is missing or damaged.
        """

    def version(self) -> str:
        """Of the data; empty if the hash says it all."""
        return ""

    def about(self, split: str, molecules: Molecules) -> dict[str, Any]:
        """What a model's card says of what was learned from it."""
        return {
            "name": self.name,
            "title": self.title,
            "origin": self.origin,
            "licence": self.licence,
            **({"version": self.version()} if self.version() else {}),
            "levels": sorted({self.labels[name].level for name in molecules.labels}),
            "split": split,
            "molecules": len(molecules),
            "sha256": molecules.sha256(),
        }


@cache
def registered() -> dict[str, type[Source]]:
    """All sources by name, the shipped ones first; raises InputError if a plug-in is not a source."""
    found: dict[str, type[Source]] = {}
    for point in _points():
        one = point.load()
        if not (isinstance(one, type) and issubclass(one, Source) and one.name == point.name):
            raise InputError(f"the plug-in {point.value} of the group {GROUP} is not a source called {point.name!r}")
        found[one.name] = one
    return dict(sorted(found.items(), key=lambda item: (item[1].rank, item[0])))


@cache
def find(name: str) -> Source:
    """The source of that name, or ``NAME:ARGUMENT``, made once per process; raises InputError that names the known ones."""
    kind, colon, argument = name.partition(":")
    known = registered()
    if kind not in known:
        raise InputError(f"no source of training data is called {kind!r}{hint(kind, known)}")
    try:
        return known[kind](*([argument] if colon else []))
    except TypeError as error:
        raise InputError(f"source {name}: {error}") from error


def split_by_hash(keys: Sequence[str], split: str) -> np.ndarray:
    """Which of these belong to a split, by their own hashes alone, so that what is added later moves none of them.

    Raises:
        InputError: the split is not one of ``SPLITS``.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}{hint(split, SPLITS)}")
    places = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little") / 2**32 for key in keys]
    ends = np.cumsum(SHARES)[:-1]
    return np.flatnonzero(np.searchsorted(ends, places, side="right") == SPLITS.index(split))


def _points() -> Iterable[EntryPoint]:
    """The installed entry points; where nothing is installed, those of the checkout."""
    if found := entry_points(group=GROUP):
        return found
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][GROUP] if PYPROJECT.is_file() else {}
    return [EntryPoint(name, value, GROUP) for name, value in declared.items()]
