"""Geometry relaxation with geomeTRIC (Wang and Song, J. Chem. Phys. 144, 214108 (2016)) from the GFN2-xTB Hessian."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geometric.engine
import geometric.molecule
import geometric.optimize
import numpy as np
from geometric.errors import Error as GeometricError
from geometric.errors import GeomOptNotConvergedError

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.chemistry.geometry import rearranged
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.engines.protocol import Surface
from gapsmith.dft_queue.hessian import xtb_hessian
from gapsmith.dft_queue.jobs import CalculationInput

# Looser than a spectroscopist's: the gap ends some meV from where tight criteria take it, for a fraction of the
# gradients (python -m benchmarks certificate).
CONVERGENCE: Final = {
    "convergence_energy": 1e-5,  # hartree
    "convergence_grms": 1.2e-3,  # hartree / bohr
    "convergence_gmax": 1.8e-3,
    "convergence_drms": 1.5e-2,  # angstrom; wide, for steps along floppy torsions were the last to end
    "convergence_dmax": 3.0e-2,
}

QUIET: Final = """
[loggers]
keys=root
[handlers]
keys=nowhere
[formatters]
keys=
[logger_root]
level=CRITICAL
handlers=nowhere
[handler_nowhere]
class=logging.NullHandler
args=()
"""  # geomeTRIC's page for every step; ours is a line


@dataclass(frozen=True)
class Relaxed:
    """The end of a relaxation."""

    coordinates: np.ndarray  # (atoms, 3), angstrom
    steps: int  # gradients computed
    rearranged: str | None  # bonds that broke or formed, which ended it


class _Wandered(Exception):
    """Bonds broke or formed, in two steps after each other."""


class _Engine(geometric.engine.Engine):  # type: ignore[misc]  # geomeTRIC has no types
    """A surface for geomeTRIC, which looks after every step whether it is still the same molecule."""

    def __init__(self, job: CalculationInput, surface: Surface, start: np.ndarray) -> None:
        frame = geometric.molecule.Molecule()
        frame.elem = [SYMBOLS[number] for number in job.numbers]
        frame.xyzs = [start]
        super().__init__(frame)
        self._numbers, self._start, self._surface = np.array(job.numbers), start, surface
        self.positions = start
        self.rearranged: str | None = None
        self.steps = 0

    def calc_new(self, coords: np.ndarray, dirname: str | None) -> dict[str, Any]:
        """Energy (hartree) and gradient (3 atoms,) in hartree / bohr at coordinates in bohr."""
        positions = np.asarray(coords).reshape(-1, 3) * BOHR_TO_ANGSTROM
        energy, gradient = self._surface.gradient(positions)
        self.positions = positions
        self.steps += 1
        print(f"relaxation step {self.steps}: {energy:.6f} hartree, gradient {np.abs(gradient).max():.1e}", flush=True)
        before, self.rearranged = self.rearranged, rearranged(self._numbers, self._start, positions)
        if before and self.rearranged:
            raise _Wandered
        return {"energy": energy, "gradient": np.ravel(gradient)}


def relax(job: CalculationInput, surface: Surface, start: np.ndarray) -> Relaxed:
    """Relax a molecule.

    Args:
        job: the molecule; ``job.level.most_steps`` gradients are the most.
        surface: of an engine.
        start: (atoms, 3), angstrom.

    Raises:
        CalculationError: chemistry, if it does not arrive.
    """
    engine = _Engine(job, surface, start)
    with tempfile.TemporaryDirectory(prefix="gapsmith-relax-") as folder:
        guess = {}
        if (hessian := xtb_hessian(job, start)) is not None:
            np.savetxt(Path(folder) / "hessian", hessian)
            guess = {"hessian": f"file:{folder}/hessian"}
        try:
            (Path(folder) / "quiet.ini").write_text(QUIET)
            progress = geometric.optimize.run_optimizer(
                customengine=engine,
                input=str(Path(folder) / "relax"),
                maxiter=job.level.most_steps,
                logIni=str(Path(folder) / "quiet.ini"),
                **guess,
                **CONVERGENCE,
            )
        except _Wandered:
            return Relaxed(engine.positions, engine.steps, engine.rearranged)
        except GeomOptNotConvergedError as error:
            raise CalculationError(
                FailureClass.CHEMISTRY,
                f"the relaxation did not converge within {job.level.most_steps} steps",
                FailureCode.RELAXATION,
            ) from error
        except (GeometricError, np.linalg.LinAlgError) as error:
            reason = f"the relaxation failed: {error}"
            raise CalculationError(FailureClass.CHEMISTRY, reason, FailureCode.RELAXATION) from error
    end = np.asarray(progress.xyzs[-1])
    return Relaxed(end, engine.steps, rearranged(np.array(job.numbers), start, end))
