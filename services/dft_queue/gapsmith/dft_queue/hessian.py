"""The GFN2-xTB Hessian, from which a DFT relaxation starts: second derivatives for less than a tenth of one DFT gradient."""

from typing import Final

import numpy as np
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.jobs import CalculationInput

STEP_BOHR: Final = 5e-3  # of the central differences
SOFTEST: Final = 5e-3  # hartree / bohr^2; at the zeros of moving and turning geomeTRIC would forget the whole Hessian


def xtb_hessian(job: CalculationInput, coordinates: np.ndarray) -> np.ndarray | None:
    """Numerical Hessian (3 atoms, 3 atoms) in hartree / bohr^2 at coordinates (atoms, 3) in angstrom; None if it fails."""
    numbers = np.asarray(job.numbers, dtype=np.int64)
    positions = np.asarray(coordinates, dtype=np.float64) / BOHR_TO_ANGSTROM
    try:
        calculator = Calculator("GFN2-xTB", numbers, positions, float(job.charge), int(job.spin))
        calculator.set("verbosity", 0)
        hessian = np.empty((positions.size, positions.size))
        for place in range(positions.size):
            change = np.zeros(positions.size)
            change[place] = STEP_BOHR
            ahead, behind = (
                _gradient(calculator, positions + sign * change.reshape(positions.shape)) for sign in (1, -1)
            )
            hessian[place] = (ahead - behind) / (2 * STEP_BOHR)
    except TBLiteRuntimeError:
        return None
    if not np.isfinite(hessian).all():
        return None
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    return np.asarray((vectors * np.maximum(np.abs(values), SOFTEST)) @ vectors.T)


def _gradient(calculator: Calculator, positions: np.ndarray) -> np.ndarray:
    calculator.update(positions)
    return np.ravel(calculator.singlepoint().get("gradient"))
