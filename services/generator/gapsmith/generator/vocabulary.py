"""Tokens of atoms, formal charges and bonds. The order is part of the checkpoint format: append, never reorder."""

from typing import Final

import numpy as np

ELEMENTS: Final = (1, 6, 7, 8, 9)  # atomic numbers of the atom tokens 0..4; hydrogens follow from valences today
MASK_ATOM: Final = 5
GHOST_ATOM: Final = 6  # reserved for atoms that appear and vanish, so that today's checkpoints stay readable
ATOM_TOKENS: Final = 7

CHARGES: Final = (-1, 0, 1)  # formal charges of the charge tokens 0..2
NEUTRAL: Final = 1
MASK_CHARGE: Final = 3
CHARGE_TOKENS: Final = 4

BOND_ORDERS: Final = (0, 1, 2, 3)  # bond tokens 0..3 are their own orders
MASK_BOND: Final = 4
BOND_TOKENS: Final = 5

VALENCE: Final = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}  # of neutral atoms; one unit of charge on N or O changes it by one
MAX_ATOMS: Final = 16  # heavy atoms; QM9 has up to nine

TOKEN_OF_NUMBER: Final = np.full(256, GHOST_ATOM, dtype=np.uint8)
TOKEN_OF_NUMBER[list(ELEMENTS)] = np.arange(len(ELEMENTS))
NUMBER_OF_TOKEN: Final = np.array(ELEMENTS, dtype=np.uint8)
