"""Properties of molecules as plug-ins of the group ``gapsmith.properties``: one class and one entry each.

Everything that names a property derives from here: what a campaign may ask for, what the surrogate's predictions and the
calculations' labels are stored as, and the columns to filter and sort by.
"""

import re
from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, NamedTuple

from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint

GROUP = "gapsmith.properties"


class Estimate(NamedTuple):
    """A prediction with its uncertainty."""

    mean: float
    std: float  # calibrated
    low: float  # ends of the 90 % interval
    high: float


def suffix(unit: str) -> str:
    """The end of the name of a column with a unit, e.g. ``_ev``."""
    text = re.sub(r"[^a-z0-9]+", "_", unit.lower()).strip("_")
    return f"_{text}" if text else ""


class Property(ABC):
    """One property of a molecule; the entry point's name is its own.

    Attributes:
        name: what campaign files and stored values call it.
        title: for people, capitalised.
        unit: of all its values, for people.
        symbol: as formulas have it.
        description: one sentence.
        possible: least and greatest value that a target may have.
        usual: range of nearly all molecules that the shipped models were trained on.
        heads: predicted properties and their weights in the sum that this one is; none: a head of its own name.
        rank: place among the columns; plug-ins come last.
        asks: what a level of theory must list under ``properties`` to compute it.
        wavelength: whether a wavelength can stand for it.
        sum_of: other properties and their weights in the sum that it always is; the heads unless told.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    symbol: ClassVar[str]
    description: ClassVar[str]
    possible: ClassVar[tuple[float, float]]
    usual: ClassVar[tuple[float, float]]
    heads: ClassVar[Mapping[str, float]] = {}
    asks: ClassVar[tuple[str, ...]] = ()
    rank: ClassVar[int] = 100
    wavelength: ClassVar[bool] = False

    @property
    def sum_of(self) -> Mapping[str, float]:
        """By property; empty: it is a sum of no others."""
        return self.heads

    @property
    def column(self) -> str:
        """The name with its unit, e.g. ``gap_ev``."""
        return self.name + suffix(self.unit)

    @property
    def noun(self) -> str:
        """The title within a sentence: ``gap``, ``HOMO``."""
        return self.title if self.title.isupper() else self.title[:1].lower() + self.title[1:]

    @property
    def needs(self) -> tuple[str, ...]:
        """Heads without which it cannot be predicted."""
        return tuple(self.heads) or (self.name,)

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """The value that follows from a result: the fields of ``CalculationOutput`` by name. None: it does not."""
        value = result.get(self.column)
        return None if value is None else float(value)

    def predicted(self, heads: Mapping[str, Estimate]) -> Estimate | None:
        """The prediction that follows from those of the heads, each in its property's unit. None: it does not.

        Errors of the heads are taken to be fully correlated, so that an interval is rather too wide than too narrow.
        """
        if any(name not in heads for name in self.needs):
            return None
        if not self.heads:
            return heads[self.name]
        mean = sum(weight * heads[name].mean for name, weight in self.heads.items())
        std = sum(abs(weight) * heads[name].std for name, weight in self.heads.items())
        half = sum(abs(weight) * (heads[name].high - heads[name].low) / 2 for name, weight in self.heads.items())
        return Estimate(mean, std, mean - half, mean + half)


class Gap(Property):
    """HOMO-LUMO gap."""

    name, title, unit, symbol = "gap", "Gap", "eV", "ΔE"
    description = "HOMO-LUMO gap"
    possible, usual = (0.0, 30.0), (2.5, 11.5)
    rank, wavelength = 0, True

    @property
    def sum_of(self) -> Mapping[str, float]:
        """Its own head predicts it, and it is a difference all the same."""
        return {"lumo": 1.0, "homo": -1.0}


class Homo(Property):
    """Energy of the highest occupied orbital."""

    name, title, unit, symbol = "homo", "HOMO", "eV", "ε(HOMO)"
    description = "energy of the highest occupied molecular orbital"
    possible, usual = (-30.0, 5.0), (-9.3, -3.6)
    rank = 1


class Lumo(Property):
    """Energy of the lowest empty orbital."""

    name, title, unit, symbol = "lumo", "LUMO", "eV", "ε(LUMO)"
    description = "energy of the lowest unoccupied molecular orbital"
    possible, usual = (-20.0, 20.0), (-3.9, 2.8)
    rank = 2


class Dipole(Property):
    """Magnitude of the dipole moment."""

    name, title, unit, symbol = "dipole", "Dipole", "debye", "μ"
    description = "magnitude of the dipole moment"
    possible, usual = (0.0, 50.0), (0.0, 17.7)
    rank = 3


class Polarizability(Property):
    """Isotropic static polarizability."""

    name, title, unit, symbol = "polarizability", "Polarizability", "bohr3", "α"
    description = "isotropic static polarizability: a third of the tensor's trace"
    possible, usual = (0.0, 1000.0), (28.8, 109.1)
    rank = 4
    asks = ("polarizability",)

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """A third of the trace."""
        tensor = result.get("polarizability_bohr3")
        return sum(float(tensor[axis][axis]) for axis in range(3)) / 3 if tensor else None


class Electronegativity(Property):
    """Mulliken's electronegativity in Koopmans' approximation (Parr, Donnelly, Levy, Palke, JCP 68, 3801, 1978)."""

    name, title, unit, symbol = "electronegativity", "Electronegativity", "eV", "χ"
    description = "-(HOMO + LUMO) / 2"
    possible, usual = (-10.0, 25.0), (1.2, 6.2)
    rank = 5
    heads: ClassVar[Mapping[str, float]] = {"homo": -0.5, "lumo": -0.5}

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """Half the sum of the frontier orbitals' energies, less than zero."""
        return _weighted(result, self.heads)


class Hardness(Property):
    """Chemical hardness in Koopmans' approximation (Parr, Pearson, JACS 105, 7512, 1983)."""

    name, title, unit, symbol = "hardness", "Hardness", "eV", "η"
    description = "(LUMO - HOMO) / 2"
    possible, usual = (0.0, 15.0), (1.2, 5.7)
    rank = 6
    heads: ClassVar[Mapping[str, float]] = {"homo": -0.5, "lumo": 0.5}

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """Half the gap of the frontier orbitals."""
        return _weighted(result, self.heads)


class FirstSinglet(Property):
    """Vertical excitation energy of the lowest excited singlet."""

    name, title, unit, symbol = "s1", "S1", "eV", "E(S1)"
    description = "vertical excitation energy of the lowest excited singlet"
    possible, usual = (0.0, 30.0), (1.5, 9.0)
    rank, wavelength = 7, True
    asks = ("excitations",)

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """Of the lowest one."""
        return _lowest_state(result, 1, "energy_ev")


class FirstTriplet(Property):
    """Vertical excitation energy of the lowest triplet."""

    name, title, unit, symbol = "t1", "T1", "eV", "E(T1)"
    description = "vertical excitation energy of the lowest triplet"
    possible, usual = (-5.0, 30.0), (0.5, 8.0)
    rank, wavelength = 8, True
    asks = ("triplets",)

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """Of the lowest one."""
        return _lowest_state(result, 3, "energy_ev")


class SingletTripletGap(Property):
    """Energy between the lowest excited singlet and the lowest triplet, both vertical."""

    name, title, unit, symbol = "delta_st", "ΔE(ST)", "eV", "ΔE(ST)"
    description = "S1 - T1, both vertical"
    possible, usual = (-5.0, 30.0), (0.0, 5.0)
    rank = 9
    heads: ClassVar[Mapping[str, float]] = {"s1": 1.0, "t1": -1.0}
    asks = ("excitations", "triplets")

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """The difference."""
        singlet, triplet = (_lowest_state(result, multiplicity, "energy_ev") for multiplicity in (1, 3))
        return None if singlet is None or triplet is None else singlet - triplet


class OscillatorStrength(Property):
    """Oscillator strength of the excitation into the lowest excited singlet."""

    name, title, unit, symbol = "oscillator_strength", "Oscillator strength", "", "f(S1)"
    description = "oscillator strength of the excitation into S1, length gauge"
    possible, usual = (0.0, 20.0), (0.0, 1.0)
    rank = 10
    asks = ("excitations",)

    def computed(self, result: Mapping[str, Any]) -> float | None:
        """Of the lowest excited singlet."""
        return _lowest_state(result, 1, "oscillator_strength")


def _lowest_state(result: Mapping[str, Any], multiplicity: int, key: str) -> float | None:
    """A value of the lowest excited state of a multiplicity, if there is one."""
    states = [one for one in result.get("excitations") or () if one.get("multiplicity") == multiplicity]
    lowest = min(states, key=lambda one: float(one["energy_ev"]), default=None)
    return None if lowest is None else float(lowest[key])


def _weighted(result: Mapping[str, Any], weights: Mapping[str, float]) -> float | None:
    values = {name: result.get(f"{name}_ev") for name in weights}
    if any(value is None for value in values.values()):
        return None
    return sum(weight * float(values[name] or 0.0) for name, weight in weights.items())


@cache
def registered() -> dict[str, Property]:
    """All properties by name, in the order of columns and tables; raises InputError."""
    found: dict[str, Property] = {}
    for point in entry_points(group=GROUP):
        one = point.load()()
        if not isinstance(one, Property) or one.name != point.name or not re.fullmatch(r"[a-z][a-z0-9_]*", one.name):
            raise InputError(f"the plug-in {point.value} of the group {GROUP} is not a property called {point.name!r}")
        found[one.name] = one
    return dict(sorted(found.items(), key=lambda item: (item[1].rank, item[0])))


def get(name: str) -> Property:
    """A property by name; raises InputError that names the known ones."""
    known = registered()
    if name not in known:
        raise InputError(f"there is no property {name!r}{hint(name, known)}")
    return known[name]


def computed(result: Mapping[str, Any]) -> dict[str, float]:
    """All values that follow from a calculation's result."""
    values = {name: one.computed(result) for name, one in registered().items()}
    return {name: value for name, value in values.items() if value is not None}


def predicted(heads: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """All predictions that follow from those of the surrogate's heads."""
    values = {name: one.predicted(heads) for name, one in registered().items()}
    return {name: value for name, value in values.items() if value is not None}


def pair(one: str, other: str) -> str:
    """What a correlation of two properties is stored under."""
    return " ".join(sorted((one, other)))


def correlations(known: Mapping[str, float], names: Sequence[str]) -> list[list[float]]:
    """The matrix of correlations of the errors of properties; those that nobody knows are taken to be independent."""
    return [[1.0 if one == other else known.get(pair(one, other), 0.0) for other in names] for one in names]


def predictable(heads: Collection[str]) -> list[str]:
    """Names of properties that can be predicted with these heads."""
    return [name for name, one in registered().items() if set(one.needs) <= set(heads)]


def computable(listed: Collection[str]) -> list[str]:
    """Names of properties that a level of theory computes which lists these under ``properties``."""
    return [name for name, one in registered().items() if set(one.asks) <= set(listed)]
