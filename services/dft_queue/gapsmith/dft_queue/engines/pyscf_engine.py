"""Kohn-Sham density functional theory with PySCF; on a GPU with GPU4PySCF where both are there."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.dft_queue.basis import elements_without, of_level
from gapsmith.dft_queue.engines.protocol import Found
from gapsmith.dft_queue.gpu import gpu4pyscf_version
from gapsmith.dft_queue.gradient import gradient
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.scf import Converged, converge, frontier_ev, memory_mb, molecule, orthonormalised
from gapsmith.dft_queue.theory import fault

SAME_ANGSTROM = 1e-6
STEEP = 1e-2  # hartree / bohr: above it a relaxation is far from its end, and a loose SCF points the same way
BIRADICAL_EV = 4.5  # ozone, which is one, has 4.2
LOOSE = {"convergence_hartree": 1e-5, "gradient_convergence": 1.5e-3}


def looks_biradical(field: Any) -> bool:
    """Whether a restricted field's gap is so small that an unrestricted one may lie lower."""
    homo_ev, lumo_ev = frontier_ev(field, HARTREE_TO_EV)
    return np.ndim(field.mo_occ) == 1 and lumo_ev - homo_ev < BIRADICAL_EV


class PyscfEngine:
    """The engine ``pyscf``."""

    def fault(self, level: LevelOfTheory) -> str | None:
        """Names that PySCF does not know."""
        return fault(level)

    def memory_mb(self, job: CalculationInput) -> int | None:
        """Of the integrals of density fitting, mostly."""
        return memory_mb(job)

    def refusal(self, job: CalculationInput) -> str | None:
        """Elements that PySCF has no basis functions for."""
        level = job.level
        basis = of_level(level, job.numbers)
        if basis is None:
            return f"level {level.name!r} names no basis set"
        if missing := elements_without(basis, job.numbers):
            return f"the basis set {basis} has no functions for {', '.join(missing)}"
        if level.density_fitting and (missing := elements_without(level.density_fitting, job.numbers)):
            return f"the auxiliary basis set {level.density_fitting} has no functions for {', '.join(missing)}"
        return None

    def surface(self, job: CalculationInput, memory_mb: int) -> "PyscfSurface":
        """Open a job."""
        return PyscfSurface(job, memory_mb)

    def software(self) -> Mapping[str, str]:
        """Versions."""
        found = {"pyscf": version("pyscf")}
        gpu = gpu4pyscf_version()
        return found | ({"gpu4pyscf": gpu} if gpu else {})


class PyscfSurface:
    """Every SCF starts from the density of the one before."""

    def __init__(self, job: CalculationInput, memory_mb: int) -> None:
        self._job, self._memory_mb = job, memory_mb
        self._last: Converged | None = None
        self._steepest = 0.0  # largest component of the newest gradient; the first point is converged as the level says

    def gradient(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (atoms, 3) (hartree / bohr)."""
        field = self._converge(positions, loose=self._steepest > STEEP).mean_field
        slope = gradient(field)
        if not np.isfinite(slope).all():
            raise CalculationError(FailureClass.CHEMISTRY, "the gradient is not finite")
        self._steepest = float(np.abs(slope).max())
        return float(field.e_tot), slope

    def properties(self, positions: np.ndarray, folder: Path) -> Found:
        """Energies, dipole, Mulliken charges, and what the level asks for beside them."""
        level = self._job.level
        scf = self._converge(positions)
        findings: list[str] = []
        if level.stability:
            from gapsmith.dft_queue.properties.checked import stable

            scf, findings = stable(scf, self._job.level)
        elif looks_biradical(scf.mean_field):
            from gapsmith.dft_queue.properties.checked import open_shell_character

            findings = open_shell_character(scf.mean_field)
        field = scf.mean_field
        homo_ev, lumo_ev = frontier_ev(field, HARTREE_TO_EV)
        values: dict[str, Any] = {
            "energy_hartree": float(field.e_tot),
            "homo_ev": homo_ev,
            "lumo_ev": lumo_ev,
            "gap_ev": lumo_ev - homo_ev,
            "dipole_debye": float(np.linalg.norm(field.dip_moment(unit="Debye", verbose=0))),
            "mulliken_e": tuple(float(charge) for charge in field.mulliken_pop(verbose=0)[1]),
            "s_squared": float(field.spin_square()[0]) if np.ndim(field.mo_occ) == 2 else 0.0,
            "rung": scf.rung,
        }
        files: tuple[str, ...] = ()
        if level.properties or level.minimum:
            from gapsmith.dft_queue.properties.checked import asked_for

            more, found, files = asked_for(field, level, folder)
            values |= more
            findings += found
        return Found(values, tuple(findings), files)

    def _converge(self, positions: np.ndarray, *, loose: bool = False) -> Converged:
        level = self._job.level
        if loose and level.convergence_hartree < LOOSE["convergence_hartree"]:
            level = level.model_copy(update=LOOSE)
        mol = molecule(self._job, positions, memory_mb=self._memory_mb)
        start = None
        if self._last is not None:
            field = self._last.mean_field
            before = np.asarray(field.mol.atom_coords()) * BOHR_TO_ANGSTROM
            if np.allclose(before, positions, atol=SAME_ANGSTROM) and field.conv_tol <= level.convergence_hartree:
                return self._last
            start = orthonormalised(field, mol)
        self._last = converge(mol, level, start=start)
        return self._last
