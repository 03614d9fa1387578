"""Symbols of the elements and formulae, for commands that need not wait for RDKit."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

_IN_ORDER: Final = """
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru
    Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At
    Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"""
SYMBOLS: Final = ("X", *_IN_ORDER.split())  # by atomic number; X stands for none


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
