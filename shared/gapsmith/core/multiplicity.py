"""Singlet or triplet, where the bonds leave both open: whichever GFN2-xTB finds lower.

GFN2-xTB alone puts every triplet too high, for it has no exchange between like spins; the spin-polarised version compares
(Neugebauer, Bädorf, Ehlert, Hansen, Grimme, J. Comput. Chem. 44, 2120 (2023)).
"""

from typing import Final

import numpy as np

from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.core.xtb import relax

NAMES: Final = ("singlet", "doublet", "triplet", "quartet", "quintet", "sextet", "septet")


def name_of(spin: int) -> str:
    """What a state of so many unpaired electrons is called."""
    return NAMES[spin] if spin < len(NAMES) else f"state of multiplicity {spin + 1}"


def lower_of_singlet_and_triplet(numbers: np.ndarray, coordinates: np.ndarray, charge: int) -> tuple[int, str]:
    """Unpaired electrons of the lower one, each relaxed on its own, and a sentence for people.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom; rough ones will do.
        charge: in elementary charges.

    Raises:
        CalculationError: GFN2-xTB cannot compute one of them.
    """
    singlet, triplet = (
        relax(numbers, coordinates, charge=charge, spin=spin, spin_polarised=True).energy_hartree for spin in (0, 2)
    )
    spin = 0 if singlet <= triplet else 2
    apart = abs(singlet - triplet) * HARTREE_TO_EV
    return spin, (
        f"its bonds allow a singlet and a triplet: the {name_of(spin)} is computed, {apart:.2f} eV below the "
        f"{name_of(2 - spin)} by spin-polarised GFN2-xTB; --spin chooses"
    )
