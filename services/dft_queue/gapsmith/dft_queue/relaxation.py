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

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.hessian import xtb_hessian
from gapsmith.dft_queue.jobs import ELEMENTS, CalculationInput
from gapsmith.dft_queue.levels import LevelOfTheory
from gapsmith.dft_queue.scf import Converged, converge, molecule, orthonormalised

# Looser than a spectroscopist's: the gap ends some meV from where tight criteria take it, for a fraction of the
# gradients (python -m benchmarks certificate).
CONVERGENCE: Final = {
    "convergence_energy": 1e-5,  # hartree
    "convergence_grms": 1.2e-3,  # hartree / bohr
    "convergence_gmax": 1.8e-3,
    "convergence_drms": 1.5e-2,  # angstrom; wide, for steps along floppy torsions were the last to end
    "convergence_dmax": 3.0e-2,
}


@dataclass(frozen=True)
class Relaxed:
    """The end of a relaxation."""

    scf: Converged  # at the last geometry
    coordinates: np.ndarray  # (atoms, 3), angstrom
    steps: int  # gradients computed


class _Surface(geometric.engine.Engine):  # type: ignore[misc]  # geomeTRIC has no types
    """Energies and gradients for geomeTRIC; every SCF starts from the one before."""

    def __init__(self, job: CalculationInput, level: LevelOfTheory, memory_mb: int) -> None:
        frame = geometric.molecule.Molecule()
        frame.elem = [ELEMENTS[number] for number in job.numbers]
        frame.xyzs = [np.array(job.coordinates_angstrom)]
        super().__init__(frame)
        self._job, self._level, self._memory_mb = job, level, memory_mb
        self.last: Converged | None = None
        self.steps = 0

    def calc_new(self, coords: np.ndarray, dirname: str | None) -> dict[str, Any]:
        """Energy (hartree) and gradient (3 atoms,) in hartree / bohr at coordinates in bohr."""
        positions = np.asarray(coords).reshape(-1, 3) * BOHR_TO_ANGSTROM
        mol = molecule(self._job.numbers, positions, self._job.charge, self._job.spin, memory_mb=self._memory_mb)
        start = None if self.last is None else orthonormalised(self.last.mean_field, mol)
        self.last = converge(mol, self._level, start=start)
        self.steps += 1
        gradient = self.last.mean_field.nuc_grad_method().kernel()
        return {"energy": self.last.mean_field.e_tot, "gradient": np.ravel(gradient)}


def relax(job: CalculationInput, level: LevelOfTheory, *, memory_mb: int) -> Relaxed:
    """Relax a molecule; raises CalculationError (chemistry) if it does not arrive within ``level.most_steps``."""
    surface = _Surface(job, level, memory_mb)
    with tempfile.TemporaryDirectory(prefix="gapsmith-relax-") as folder:
        guess = {}
        if (hessian := xtb_hessian(job)) is not None:
            np.savetxt(Path(folder) / "hessian", hessian)
            guess = {"hessian": f"file:{folder}/hessian"}
        try:
            progress = geometric.optimize.run_optimizer(
                customengine=surface,
                input=str(Path(folder) / "relax"),
                maxiter=level.most_steps,
                **guess,
                **CONVERGENCE,
            )
        except GeomOptNotConvergedError as error:
            raise CalculationError(
                FailureClass.CHEMISTRY, f"the relaxation did not converge within {level.most_steps} steps"
            ) from error
        except (GeometricError, np.linalg.LinAlgError) as error:
            raise CalculationError(FailureClass.CHEMISTRY, f"the relaxation failed: {error}") from error
    if surface.last is None:
        raise CalculationError(FailureClass.CHEMISTRY, "the relaxation made no step")
    return Relaxed(surface.last, np.asarray(progress.xyzs[-1]), surface.steps)
