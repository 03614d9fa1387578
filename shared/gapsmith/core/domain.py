"""Vocabulary of the whole system: the few values that services hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands that only ask the database need not wait for it
    import numpy as np


class Level(StrEnum):
    """Levels of theory of a campaign."""

    TRIAGE = "triage"  # of labels: as shipped, a single point at the GFN2-xTB geometry
    CERTIFICATE = "certificate"  # of hits: as shipped, the same after relaxation at that level


@dataclass(frozen=True)
class Molecule:
    """Atoms with their positions, and the bonds when they are known."""

    numbers: np.ndarray  # (atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (atoms, 3) float64, angstrom
    charges: np.ndarray  # (atoms,) int8, formal charges
    bonds: np.ndarray  # (bonds, 3) int16: first atom, second atom, order 1-3 (kekulised); empty if unknown

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.numbers)
