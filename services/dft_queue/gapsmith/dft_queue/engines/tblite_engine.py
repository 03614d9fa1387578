"""GFN2-xTB with tblite."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from gapsmith.core.levels import GFN2
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.core.xtb import Evaluator
from gapsmith.dft_queue.engines.protocol import Found
from gapsmith.dft_queue.jobs import CalculationInput

HEAVIEST: Final = 86  # radon: as far as GFN2-xTB has parameters


class TbliteEngine:
    """The engine ``tblite``."""

    def refusal(self, job: CalculationInput) -> str | None:
        """GFN2-xTB only, up to radon."""
        level = job.level
        if level.method != GFN2:
            return f"level {level.name!r}: tblite computes {GFN2} here, not {level.method}"
        if level.properties or level.minimum or level.stability:
            return f"level {level.name!r}: tblite gives no {', '.join((*level.properties, 'frequencies or stability'))} here"
        if heavy := [number for number in job.numbers if not 1 <= number <= HEAVIEST]:
            return f"GFN2-xTB has no parameters for atomic number {heavy[0]}; up to {HEAVIEST} are known"
        return None

    def surface(self, job: CalculationInput, memory_mb: int) -> "TbliteSurface":
        """Open a job."""
        return TbliteSurface(job)

    def software(self) -> Mapping[str, str]:
        """Versions."""
        return {"tblite": version("tblite")}


class TbliteSurface:
    """Every point starts from the density of the one before."""

    def __init__(self, job: CalculationInput) -> None:
        start = job.positions / BOHR_TO_ANGSTROM
        self._evaluate = Evaluator(np.array(job.numbers), start, job.charge, job.spin)

    def gradient(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (atoms, 3) (hartree / bohr)."""
        return self._evaluate(positions / BOHR_TO_ANGSTROM)

    def properties(self, positions: np.ndarray, folder: Path) -> Found:
        """Energies, dipole and Mulliken charges."""
        energy, _ = self.gradient(positions)
        result = self._evaluate.result
        assert result is not None  # a point was computed
        values = {
            "energy_hartree": energy,
            **self._evaluate.values(),
            "mulliken_e": tuple(float(charge) for charge in np.ravel(result.get("charges"))),
        }
        return Found(values)
