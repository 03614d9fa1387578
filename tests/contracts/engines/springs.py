"""A tiny engine that an installed plug-in could bring: springs between hydrogen and oxygen, for water and its pieces."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.engines.protocol import Found
from gapsmith.dft_queue.jobs import CalculationInput

STIFFNESS = 0.4  # hartree / bohr^2
LENGTHS = {(1, 1): 1.55, (1, 8): 0.98, (8, 8): 1.45}  # angstrom, by atomic numbers
HOMO_EV, LUMO_EV = -8.0, 2.0
HYDROGEN_E = 0.3  # elementary charges


class SpringEngine:
    """See ``gapsmith.dft_queue.engines.protocol.Engine``."""

    def fault(self, level: LevelOfTheory) -> str | None:
        """One method without options."""
        if level.method != "springs":
            return f"level {level.name!r}: this engine knows the method springs, not {level.method}"
        if level.options:
            return f"level {level.name!r}: this engine has no options, so not {min(level.options)!r}, either"
        return None if level.route == "usual" else f"level {level.name!r}: springs have one route only"

    def memory_mb(self, job: CalculationInput) -> int | None:
        """Next to nothing."""
        return None

    def refusal(self, job: CalculationInput) -> str | None:
        """Neutral closed shells of hydrogen and oxygen."""
        if strange := sorted(set(job.numbers) - {1, 8}):
            return f"there are no springs for atomic number {strange[0]}, only for hydrogen and oxygen"
        if job.charge or job.spin:
            return f"springs hold neutral closed shells only, not charge {job.charge} and {job.spin} unpaired electrons"
        return None

    def surface(self, job: CalculationInput, memory_mb: int) -> "SpringSurface":
        """Open a job."""
        return SpringSurface(job.numbers)

    def software(self) -> Mapping[str, str]:
        """Versions."""
        return {"springs": "1.0"}


class SpringSurface:
    """A spring between any two atoms."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers

    def _springs(self) -> Iterator[tuple[int, int, float]]:
        for i, first in enumerate(self._numbers):
            for j, second in enumerate(self._numbers[:i]):
                low, high = sorted((first, second))
                yield i, j, LENGTHS[low, high] / BOHR_TO_ANGSTROM

    def gradient(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (atoms, 3) (hartree / bohr)."""
        at = positions / BOHR_TO_ANGSTROM
        energy, gradient = 0.0, np.zeros_like(at)
        for i, j, length in self._springs():
            between = at[i] - at[j]
            stretch = float(np.linalg.norm(between)) - length
            energy += STIFFNESS / 2 * stretch**2
            pull = STIFFNESS * stretch * between / np.linalg.norm(between)
            gradient[i] += pull
            gradient[j] -= pull
        return energy, gradient

    def properties(self, positions: np.ndarray, folder: Path) -> Found:
        """Orbital energies that nothing moves, and charges of atoms."""
        hydrogens, oxygens = self._numbers.count(1), self._numbers.count(8)
        of_oxygen = -HYDROGEN_E * hydrogens / max(oxygens, 1)
        charges = [HYDROGEN_E if number == 1 else of_oxygen for number in self._numbers]
        dipole = (
            np.linalg.norm(np.array(charges) @ positions) * 4.80320
        )  # debye for an elementary charge and an angstrom
        return Found(
            {
                "energy_hartree": self.gradient(positions)[0],
                "homo_ev": HOMO_EV,
                "lumo_ev": LUMO_EV,
                "gap_ev": LUMO_EV - HOMO_EV,
                "dipole_debye": float(dipole),
                "mulliken_e": tuple(charges),
            }
        )
