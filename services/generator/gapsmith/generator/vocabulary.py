"""Tokens of atoms, formal charges and bonds. The order is part of the checkpoint format: append, never reorder."""

from typing import Final

import numpy as np

from gapsmith.core.chemistry.elements import SYMBOLS

ELEMENTS: Final = (1, 6, 7, 8, 9)  # atomic numbers of the atom tokens 0..4; hydrogens follow from valences
GHOST_ATOM: Final = 5  # a place that stays empty, so that a part that is grown again may change its size
ATOM_KINDS: Final = 6  # what an atom can turn out to be
MASK_ATOM: Final = 6
NUMBER_OF_SYMBOL: Final = {
    SYMBOLS[number]: number for number in ELEMENTS if number != 1
}  # of what may be placed; hydrogens follow
ATOM_TOKENS: Final = 7

CHARGES: Final = (-1, 0, 1)  # formal charges of the charge tokens 0..2
NEUTRAL: Final = 1
MASK_CHARGE: Final = 3
CHARGE_TOKENS: Final = 4

BOND_ORDERS: Final = (0, 1, 2, 3)  # bond tokens 0..3 are their own orders
MASK_BOND: Final = 4
BOND_TOKENS: Final = 5

MAX_ATOMS: Final = 16  # heavy atoms; QM9 has up to nine

# What a molecule can be conditioned on, with mean and standard deviation over QM9; append, never reorder.
PROPERTIES: Final = {
    "gap_ev": (6.858, 1.284),
    "homo_ev": (-6.536, 0.598),
    "lumo_ev": (0.322, 1.275),
    "dipole_debye": (2.673, 1.503),
    "polarizability_bohr3": (75.28, 8.17),
}

TOKEN_OF_NUMBER: Final = np.full(256, GHOST_ATOM, dtype=np.uint8)
TOKEN_OF_NUMBER[list(ELEMENTS)] = np.arange(len(ELEMENTS))
NUMBER_OF_TOKEN: Final = np.array([*ELEMENTS, 0], dtype=np.uint8)  # 0 for a ghost
