"""Units and conversion factors (CODATA 2018). Column names carry the unit: ``gap_ev``, ``energy_hartree``."""

from dataclasses import dataclass
from typing import Final

HARTREE_TO_EV: Final = 27.211386245988
HARTREE_TO_KCAL: Final = 627.5094740631  # kcal/mol
BOHR_TO_ANGSTROM: Final = 0.529177210903
AU_TO_DEBYE: Final = 2.541746473
DEBYE_TO_E_ANGSTROM: Final = BOHR_TO_ANGSTROM / AU_TO_DEBYE
EV_NM: Final = 1239.8419843320026  # Planck's constant times the speed of light: an energy times its wavelength
WAVELENGTH: Final = "nm"


@dataclass(frozen=True)
class Unit:
    """A unit of labels and predictions."""

    dimension: str
    in_base: float  # one of it in the base unit of its dimension, in which networks work
    suffix: str  # of column names


UNITS: Final = {
    "eV": Unit("energy", 1.0, "ev"),
    "meV": Unit("energy", 1e-3, "mev"),
    "hartree": Unit("energy", HARTREE_TO_EV, "hartree"),
    "kcal/mol": Unit("energy", HARTREE_TO_EV / HARTREE_TO_KCAL, "kcal_per_mol"),
    "D": Unit("dipole", 1.0, "debye"),
    "mD": Unit("dipole", 1e-3, "millidebye"),
    "e*angstrom": Unit("dipole", 1 / DEBYE_TO_E_ANGSTROM, "e_angstrom"),
    "bohr^3": Unit("polarizability", 1.0, "bohr3"),
    "angstrom^3": Unit("polarizability", BOHR_TO_ANGSTROM**-3, "angstrom3"),
    "e": Unit("charge", 1.0, "e"),
    "eV/angstrom": Unit("force", 1.0, "ev_per_angstrom"),
    "hartree/bohr": Unit("force", HARTREE_TO_EV / BOHR_TO_ANGSTROM, "hartree_per_bohr"),
}


def base_unit(dimension: str) -> Unit:
    """The unit in which networks work."""
    return next(unit for unit in UNITS.values() if unit.dimension == dimension and unit.in_base == 1.0)


def convertible(own: str, *, wavelength: bool) -> list[str]:
    """Units that a value in another one can be given in, its own first; ``wavelength``: nm stands for an energy."""
    base = _unit(own)
    others = [
        name for name, one in UNITS.items() if base is not None and one.dimension == base.dimension and one != base
    ]
    return [*([own] if own else []), *others, *([WAVELENGTH] if wavelength else [])]


def convert(value: float, unit: str, own: str) -> float:
    """A value of ``unit`` in ``own``, to which it is convertible; raises ValueError for a wavelength that is not positive."""
    if unit == own:
        return value
    base = _unit(own)
    assert base is not None  # else nothing is convertible to it
    if unit == WAVELENGTH:
        if value <= 0:
            raise ValueError(f"{value:g} nm is not a wavelength: it must be more than 0")
        return EV_NM / value / base.in_base
    return value * UNITS[unit].in_base / base.in_base


def _unit(name: str) -> Unit | None:
    """A unit by its name or by what stands in names of columns."""
    return UNITS.get(name) or next((one for one in UNITS.values() if one.suffix == name.lower()), None)


def duration(seconds: float) -> str:
    """A time for people: ``1h 02m``, ``3m 07s``, ``42s``."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
