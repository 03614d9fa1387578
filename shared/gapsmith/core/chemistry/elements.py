"""The elements: symbols, valences, covalent radii and formulae. RDKit is loaded only when a radius is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

from gapsmith.core.errors import InputError

if TYPE_CHECKING:  # commands that only ask the database need not wait for numpy
    import numpy as np

_IN_ORDER: Final = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru
    Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At
    Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"""
SYMBOLS: Final = ("X", *_IN_ORDER.split())  # by atomic number; X stands for a placeholder
NUMBERS: Final = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}
ISOTOPES: Final = {"D": 1, "T": 1}  # symbols of their own; electrons do not tell them from hydrogen

# Bonds of a neutral atom, counted by order; a positive charge on N or O adds one, a negative one takes one away.
VALENCES: Final = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}
# Neighbours that an atom can have when bonds are read from distances: of the ammonium and oxonium ions for N and O.
MOST_NEIGHBOURS: Final = {1: 1, 6: 4, 7: 4, 8: 3, 9: 1}
MOST_NEIGHBOURS_OF_OTHERS: Final = 8

NOBLE_GASES: Final = frozenset({2, 10, 18, 36, 54, 86})
TRANSITION_METALS: Final = frozenset({*range(21, 31), *range(39, 49), *range(57, 81), *range(89, 113)})

# Transition metals and f elements whose d or f shells bonds do not fill: their unpaired electrons have to be said.
OPEN_SHELL_METALS: Final = TRANSITION_METALS - {29, 30, 47, 48, 79, 80, 112}


def number_of(symbol: str) -> int:
    """Atomic number of an element; raises InputError, naming the nearest symbol."""
    if symbol not in NUMBERS:
        near = symbol.strip().capitalize()
        hint = f"; did you mean {near!r}?" if near in NUMBERS else ""
        raise InputError(f"{symbol!r} is not the symbol of an element{hint}")
    return NUMBERS[symbol]


def symbols(numbers: Iterable[int]) -> str:
    """Return the symbols of some elements in a list for a person, each once, by atomic number."""
    return ", ".join(SYMBOLS[number] for number in sorted({int(number) for number in numbers}))


def formula(numbers: Iterable[int], charge: int = 0) -> str:
    """Formula as RDKit writes it: carbon, hydrogen, the rest by the alphabet, the charge; such as C2H6O or H4N+.

    Args:
        numbers: atomic numbers within 1 to 118.
        charge: total charge.
    """
    counts = Counter(SYMBOLS[number] for number in numbers)
    order = sorted(counts, key=lambda symbol: (symbol != "C", symbol != "H", symbol))
    sign = "" if charge == 0 else ("+" if charge > 0 else "-") + (str(abs(charge)) if abs(charge) > 1 else "")
    return "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in order) + sign


@cache
def _radii() -> np.ndarray:
    import numpy as np
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    return np.array([table.GetRcovalent(number) for number in range(len(SYMBOLS))], dtype=np.float64)


def radii_angstrom(numbers: np.ndarray) -> np.ndarray:
    """Covalent radii, (atoms,); Cordero et al., Dalton Trans. 2832 (2008), as RDKit has them."""
    found: np.ndarray = _radii()[numbers]
    return found


def masses_u(numbers: Iterable[int]) -> np.ndarray:
    """Standard atomic weights, (atoms,), in unified atomic mass units."""
    import numpy as np
    from rdkit.Chem import GetPeriodicTable

    return np.array([GetPeriodicTable().GetAtomicWeight(int(number)) for number in numbers], dtype=np.float64)


def bond_lengths_angstrom(numbers: np.ndarray) -> np.ndarray:
    """Sums of the covalent radii of all pairs of atoms, (atoms, atoms)."""
    radii = radii_angstrom(numbers)
    lengths: np.ndarray = radii[:, None] + radii[None]
    return lengths
