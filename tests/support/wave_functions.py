"""Converged wave functions for tests of what is computed from them."""

from typing import Any

import numpy as np
from pyscf import lib

from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.scf import converge, molecule

LEVEL = shipped()["single-point"]
ROOM_MB = 2000  # beyond what the tests' own process already holds: a calculation's limit counts its whole process


def converged(numbers: list[int], positions: list[list[float]], spin: int = 0, level: LevelOfTheory = LEVEL) -> Any:
    """The mean field of a neutral molecule at a level; positions in angstrom."""
    job = CalculationInput.of(np.array(numbers), np.array(positions), level, spin=spin)
    memory_mb = ROOM_MB + int(lib.current_memory()[1])
    return converge(molecule(job, job.positions, memory_mb=memory_mb), level).mean_field


def of_both_spins(field: Any) -> Any:
    """The same wave function as an unrestricted one."""
    found = field.to_uks()
    found.converged = True
    return found
