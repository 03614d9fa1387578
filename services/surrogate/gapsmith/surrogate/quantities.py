"""What the network can predict, and in which units."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.data import qm9

Level = Literal["graph", "node"]
Form = Literal["intensive", "extensive", "dipole", "charge", "forces"]

DEBYE_TO_E_ANGSTROM: Final = 0.20819433442462576


@dataclass(frozen=True)
class Unit:
    """A unit that a head may declare."""

    dimension: str
    in_base: float  # one of it in the base unit of its dimension
    suffix: str  # of column names


UNITS: Final = {
    "eV": Unit("energy", 1.0, "ev"),
    "meV": Unit("energy", 1e-3, "mev"),
    "hartree": Unit("energy", HARTREE_TO_EV, "hartree"),
    "D": Unit("dipole", 1.0, "debye"),
    "mD": Unit("dipole", 1e-3, "millidebye"),
    "e*angstrom": Unit("dipole", 1 / DEBYE_TO_E_ANGSTROM, "e_angstrom"),
    "bohr^3": Unit("polarizability", 1.0, "bohr3"),
    "angstrom^3": Unit("polarizability", BOHR_TO_ANGSTROM**-3, "angstrom3"),
    "e": Unit("charge", 1.0, "e"),
    "eV/angstrom": Unit("force", 1.0, "ev_per_angstrom"),
    "hartree/bohr": Unit("force", HARTREE_TO_EV / BOHR_TO_ANGSTROM, "hartree_per_bohr"),
}


@dataclass(frozen=True)
class Quantity:
    """One thing that a head predicts; the network works in the base unit of its dimension."""

    level: Level
    dimension: str
    form: Form
    method: str  # level of theory of its labels
    least: float = -math.inf  # no value lies below, base unit


DFT, XTB = qm9.LEVEL, "GFN2-xTB"
QUANTITIES: Final = {
    "homo": Quantity("graph", "energy", "intensive", DFT),
    "lumo": Quantity("graph", "energy", "intensive", DFT),
    "gap": Quantity("graph", "energy", "intensive", DFT, 0.0),
    "dipole": Quantity("graph", "dipole", "dipole", DFT, 0.0),
    "polarizability": Quantity("graph", "polarizability", "extensive", DFT, 0.0),
    "atomization_energy": Quantity("graph", "energy", "extensive", DFT),
    "mulliken_charge": Quantity("node", "charge", "charge", DFT),
    "gfn2_gap": Quantity("graph", "energy", "intensive", XTB, 0.0),
    "gfn2_energy": Quantity("graph", "energy", "extensive", XTB),
    "gfn2_forces": Quantity("node", "force", "forces", XTB),
}
GRAPH_LEVEL: Final = tuple(name for name, quantity in QUANTITIES.items() if quantity.level == "graph")
FRONTIER: Final = ("homo", "lumo", "gap")  # two of them are predicted, the LUMO is the sum of the others
ENERGY_OF_FORCES: Final = "gfn2_energy"  # whose gradient the forces are
FORCES: Final = "gfn2_forces"
SOURCES: Final = {  # name: what its labels are of
    "qm9": ("homo", "lumo", "gap", "dipole", "polarizability", "atomization_energy", "mulliken_charge"),
    "qm9_gfn2": ("homo", "lumo", "gap", "dipole", "polarizability", "atomization_energy", "mulliken_charge"),
    "gfn2": ("gfn2_gap", "gfn2_energy", "gfn2_forces"),
}


def base_unit(dimension: str) -> str:
    """The unit in which the network itself works."""
    return next(name for name, unit in UNITS.items() if unit.dimension == dimension and unit.in_base == 1.0)
