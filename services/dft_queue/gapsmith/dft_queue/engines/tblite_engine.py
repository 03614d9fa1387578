"""GFN2-xTB with tblite."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from gapsmith.core.errors import CalculationError
from gapsmith.core.hints import hint
from gapsmith.core.levels import GFN2, LevelOfTheory
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.core.xtb import Evaluator
from gapsmith.dft_queue.engines.protocol import Found
from gapsmith.dft_queue.jobs import CalculationInput

HEAVIEST: Final = 86  # radon: as far as GFN2-xTB has parameters


SOLVENT_MODELS: Final = ("alpb", "cpcm")
SOLVENTS: Final = (  # names that typing errors are compared with; tblite itself is asked
    "acetone", "acetonitrile", "aniline", "benzaldehyde", "benzene", "ch2cl2", "chcl3", "cs2", "dioxane", "dmf", "dmso",
    "ethanol", "ether", "ethylacetate", "furane", "hexadecane", "hexane", "methanol", "nitromethane", "octanol", "phenol",
    "thf", "toluene", "water",
)  # fmt: skip


def solvent_of(level: LevelOfTheory) -> tuple[str, str] | None:
    """Model and name, as GFN2-xTB takes them."""
    return None if level.solvent is None else (level.solvent.model, level.solvent.name)


class TbliteEngine:
    """The engine ``tblite``."""

    def fault(self, level: LevelOfTheory) -> str | None:
        """GFN2-xTB only."""
        where = f"level {level.name!r}"
        if level.method != GFN2:
            return f"{where}: tblite computes {GFN2} here, not {level.method}"
        if level.options:
            option = min(level.options)
            return f"{where}: option {option!r} is not known to the engine tblite, which has none; solvent is a key"
        if level.properties or level.minimum or level.stability:
            return f"{where}: tblite gives no {', '.join((*level.properties, 'frequencies or stability'))} here"
        if level.route != "usual":
            return f"{where}: tblite has one route to its result only"
        if level.solvent is None:
            return None
        if level.solvent.model not in SOLVENT_MODELS:
            return (
                f"{where}: solvent.model is one of {', '.join(SOLVENT_MODELS)} with GFN2-xTB, not {level.solvent.model}"
            )
        try:
            helium = np.array([2]), np.zeros((1, 3))
            Evaluator(*helium, solvent=(level.solvent.model, level.solvent.name))(helium[1])
        except CalculationError:
            return f"{where}: solvent.name: tblite does not know {level.solvent.name!r}{hint(level.solvent.name, SOLVENTS)}"
        return None

    def memory_mb(self, job: CalculationInput) -> int | None:
        """The worker's limit is enough."""
        return None

    def refusal(self, job: CalculationInput) -> str | None:
        """Elements up to radon."""
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
        self._evaluate = Evaluator(np.array(job.numbers), start, job.charge, job.spin, solvent=solvent_of(job.level))

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
