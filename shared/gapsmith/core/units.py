"""Conversion factors (CODATA 2018). Column names carry the unit: ``gap_ev``, ``energy_hartree``."""

from typing import Final

HARTREE_TO_EV: Final = 27.211386245988
BOHR_TO_ANGSTROM: Final = 0.529177210903
AU_TO_DEBYE: Final = 2.541746473


def duration(seconds: float) -> str:
    """A time for people: ``1h 02m``, ``3m 07s``, ``42s``."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
