"""Conversion factors (CODATA 2018). Column names carry the unit: ``gap_ev``, ``energy_hartree``."""

from typing import Final

HARTREE_TO_EV: Final = 27.211386245988
BOHR_TO_ANGSTROM: Final = 0.529177210903
AU_TO_DEBYE: Final = 2.541746473
