"""Self-consistent field: a ladder of algorithms, each different from the one before, and the rung that converged."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pyscf import dft, gto, lib
from pyscf.df import addons

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.basis import by_name, core_potentials, of_level
from gapsmith.dft_queue.exchange import ExchangeDF
from gapsmith.dft_queue.gpu import gpu4pyscf_version, on_cpu, on_gpu
from gapsmith.dft_queue.integration import CachedNumInt
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.theory import functional, in_solvent, range_separated

LEAST_IN_SINGLE_PRECISION_HARTREE: Final = (
    1e-7  # an energy whose integration and exchange have float32 values does not settle below
)

LIBRARIES_MB: Final = 600
POINTS_PER_ATOM: Final = 4000  # of PySCF's grid 1; every level has about 1.6 times those of the one before
MARGIN: Final = 1.15


@dataclass(frozen=True)
class Rung:
    """One way to converge. Without a guess it goes on from the last density."""

    name: str
    cycles: int
    guess: str | None = None
    damping: float = 0.0
    level_shift_hartree: float = 0.0  # taken off before the final check of convergence
    second_order: bool = False


LADDER: Final = (
    Rung("diis", cycles=40, guess="minao"),
    Rung("damped", cycles=80, damping=0.4),
    Rung("level-shift", cycles=80, level_shift_hartree=0.3),
    Rung("huckel", cycles=80, guess="huckel", level_shift_hartree=0.1),
    Rung("sap", cycles=80, guess="sap", damping=0.3),
    Rung("second-order", cycles=40, second_order=True),
)

OTHER_ROUTE: Final = (  # to confirm what the first rung of the other ladder found
    Rung("other-guess-second-order", cycles=40, guess="huckel", second_order=True),
    Rung("other-guess-damped", cycles=120, guess="sap", damping=0.3),
)


@dataclass(frozen=True)
class Converged:
    """A converged SCF."""

    mean_field: Any  # pyscf's RKS or UKS with density fitting
    rung: str


def molecule(job: CalculationInput, coordinates: np.ndarray, *, memory_mb: int, verbose: int = 0) -> Any:
    """PySCF's molecule in the level's basis; coordinates (atoms, 3) in angstrom."""
    atoms = [(SYMBOLS[n], tuple(row)) for n, row in zip(job.numbers, coordinates.tolist(), strict=True)]
    basis = of_level(job.level, job.numbers)
    assert basis is not None  # the engine refuses levels without one
    return gto.M(
        atom=atoms,
        basis=by_name(basis, job.numbers),
        ecp=core_potentials(basis, job.numbers),
        charge=job.charge,
        spin=job.spin,
        cart=False,
        verbose=verbose,
        max_memory=memory_mb,
    )


def mean_field(mol: Any, level: LevelOfTheory) -> Any:
    """Kohn-Sham object, restricted without unpaired electrons, not converged yet."""
    xc, dispersion = functional(level.method)
    field = (dft.RKS if mol.spin == 0 else dft.UKS)(mol, xc=xc)
    if dispersion is not None:
        field.disp = dispersion
    if level.density_fitting:
        field = field.density_fit(auxbasis=level.density_fitting)
    if level.grid is not None:
        field.grids.level = level.grid
    field.conv_tol = level.convergence_hartree
    field.conv_tol_grad = level.gradient_convergence
    field.chkfile = None
    if gpu4pyscf_version():
        return on_gpu(field)
    if level.convergence_hartree >= LEAST_IN_SINGLE_PRECISION_HARTREE:
        field._numint = CachedNumInt()
        if level.density_fitting:
            field.with_df = ExchangeDF(mol, auxbasis=level.density_fitting)
    return in_solvent(field, level)


def memory_mb(job: CalculationInput) -> int:
    """What a single point needs: libraries, fitted integrals, which are there more than once, and values on the grid.

    Measured as address space on molecules of 6 to 20 heavy atoms; the margin covers a relaxation.
    """
    mol = molecule(job, job.positions, memory_mb=0)
    fitted = 0 if not job.level.density_fitting else addons.make_auxmol(mol, job.level.density_fitting).nao
    integrals = 8e-6 * fitted * mol.nao * (mol.nao + 1) / 2 * (2 if range_separated(job.level.method) else 1)
    points = POINTS_PER_ATOM * 1.6 ** ((3 if job.level.grid is None else job.level.grid) - 1) * mol.natm
    values = 4 * 4e-6 * points * mol.nao  # value and gradient, in single precision
    return int(MARGIN * (LIBRARIES_MB + 2.5 * integrals + 1.6 * values))


def converge(mol: Any, level: LevelOfTheory, *, start: Any = None, ladder: tuple[Rung, ...] | None = None) -> Converged:
    """Climb the ladder until a rung converges.

    Args:
        mol: the molecule.
        level: level of theory.
        start: density to begin with (``orthonormalised`` makes one of a neighbouring geometry's) instead of the first guess.
        ladder: rungs to try in order; None: those of the level's route.

    Raises:
        CalculationError: no rung converged (chemistry).
    """
    ladder = ladder or (LADDER if level.route == "usual" else OTHER_ROUTE)
    density = start
    for rung in ladder:
        field = mean_field(mol, level)
        field.max_cycle = rung.cycles
        if rung.guess is not None and density is not start:
            density = None  # another guess, unless the first rung was given one
        if rung.guess is not None:
            field.init_guess = rung.guess
        if rung.damping:
            field.damp = rung.damping
        field.level_shift = rung.level_shift_hartree
        if rung.second_order:
            field = field.newton()
        field.kernel(dm0=density)
        print(
            f"SCF rung {rung.name}: {'converged' if field.converged else 'not converged'}, {field.e_tot:.6f} hartree",
            flush=True,
        )
        if field.converged and np.isfinite(field.e_tot):
            return Converged(on_cpu(field), rung.name)
        density = field.make_rdm1()
    tried = ", ".join(rung.name for rung in ladder)
    reason = f"the SCF did not converge; tried in this order: {tried}"
    raise CalculationError(FailureClass.CHEMISTRY, reason, FailureCode.SCF)


def orthonormalised(field: Any, mol: Any) -> Any:
    """A converged SCF's density carried over to a neighbouring geometry of the same molecule.

    The orbitals are made orthonormal (Löwdin) in the new geometry's overlap, so that no electron is lost.
    """
    overlap = mol.intor_symmetric("int1e_ovlp")
    orbitals, occupations = np.asarray(field.mo_coeff), np.asarray(field.mo_occ)
    moved = []
    for coefficients in orbitals.reshape(-1, *orbitals.shape[-2:]):
        values, vectors = np.linalg.eigh(coefficients.T @ overlap @ coefficients)
        moved.append(coefficients @ (vectors / np.sqrt(values)) @ vectors.T)
    carried = np.array(moved).reshape(orbitals.shape)
    density = field.make_rdm1(carried, occupations)
    return lib.tag_array(density, mo_coeff=carried, mo_occ=occupations)


def frontier_ev(field: Any, hartree_to_ev: float) -> tuple[float, float]:
    """Energies of the highest occupied and the lowest empty orbital, over both spins."""
    energies, occupations = np.ravel(field.mo_energy), np.ravel(field.mo_occ)
    return float(energies[occupations > 0].max() * hartree_to_ev), float(
        energies[occupations == 0].min() * hartree_to_ev
    )
