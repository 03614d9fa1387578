"""Harmonic frequencies and infrared intensities from analytic second derivatives.

Analytic, for a molecule of five heavy atoms takes a third of the CPU-seconds that central differences of its gradients take.
The response to nuclear displacements, which the Hessian needs anyway, gives the derivatives of the dipole for nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from pyscf import lib
from pyscf.data import nist
from pyscf.data.elements import COMMON_ISOTOPE_MASSES
from pyscf.df.hessian import rhf as df_rhf
from pyscf.df.hessian import uhf as df_uhf
from pyscf.hessian import rhf, thermo, uhf

from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.lowest_mode import Mode
from gapsmith.dft_queue.properties.response import occupied, prepared, tightened, unrestricted

LINEAR_BOHR: Final = 0.02  # a molecule with all atoms this close to one axis is linear
SHARE_OF_MEMORY: Final = 0.12  # of what is free, for a block of derivative integrals
COPIES: Final = 2.2  # an array is there twice while it is put in order; the rest is small
AMU_TO_ELECTRON_MASS: Final = nist.ATOMIC_MASS / nist.E_MASS
# pi N_A / (3 c^2 4 pi eps0) for (e / sqrt(amu))^2 in km / mol
KM_MOL: Final = (
    nist.AVOGADRO * np.pi / 3 / nist.LIGHT_SPEED_SI**2 * 8.9875517923e9 * nist.E_CHARGE**2 / nist.ATOMIC_MASS * 1e-3
)


@dataclass(frozen=True)
class Frequencies:
    """Vibrations at a geometry, by wavenumber; translations and rotations are not among them."""

    wavenumbers_cm1: np.ndarray  # (modes,), imaginary ones negative
    ir_intensities_km_mol: np.ndarray  # (modes,)
    modes: np.ndarray  # (modes, atoms, 3), Cartesian displacements, each of norm 1
    zero_point_energy_hartree: float  # of the modes that are not imaginary

    @property
    def lowest(self) -> Mode:
        """The softest one, or the steepest of those that lead downhill."""
        direction = self.modes[int(self.wavenumbers_cm1.argmin())]
        return Mode(float(self.wavenumbers_cm1.min()), direction / np.linalg.norm(direction, axis=1).max())

    @property
    def imaginary(self) -> int:
        """How many modes lead downhill."""
        return int((self.wavenumbers_cm1 < 0).sum())


def frequencies(field: Any) -> Frequencies:
    """Harmonic frequencies of a converged Kohn-Sham field, restricted or not, of the most abundant isotopes.

    Meaningful at a stationary point; elsewhere the projection takes the gradient's part in rotations out only. The field
    is left as it was.

    Raises:
        CalculationError: the response does not converge (chemistry), or the memory limit is too small (poison).
    """
    mol = field.mol
    if mol.natm == 1:
        return Frequencies(np.zeros(0), np.zeros(0), np.zeros((0, 1, 3)), 0.0)
    hessian, dipole_derivatives = _derivatives(tightened(field))
    masses = np.array([COMMON_ISOTOPE_MASSES[charge] for charge in mol.atom_charges()])
    found = thermo.harmonic_analysis(_straightened(mol, masses), hessian, imaginary_freq=False, mass=masses)
    modes = np.asarray(found["norm_mode"])  # (modes, atoms, 3) per sqrt(amu)
    along = np.einsum("max,axy->my", modes, dipole_derivatives)
    positive = found["freq_au"][found["freq_au"] > 0]
    return Frequencies(
        wavenumbers_cm1=np.asarray(found["freq_wavenumber"]),
        ir_intensities_km_mol=KM_MOL * (along**2).sum(axis=1),
        modes=modes / np.linalg.norm(modes, axis=(1, 2), keepdims=True),
        zero_point_energy_hartree=float(positive.sum() / 2 / np.sqrt(AMU_TO_ELECTRON_MASS)),
    )


def _derivatives(field: Any) -> tuple[np.ndarray, np.ndarray]:
    """Second derivatives of the energy (atoms, atoms, 3, 3) in hartree / bohr^2, and of the dipole (atoms, 3, 3) in e."""
    solver = field.Hessian()
    block_mb = SHARE_OF_MEMORY * _free_mb(field)
    solver.max_memory = block_mb / 0.3 / 9  # PySCF takes 0.3 of it, counting one of nine components
    orbitals = field.mo_energy, field.mo_coeff, field.mo_occ
    try:
        with _blocks(max(1, int(block_mb * 1e6 / 8 / 3 / field.mol.nao**2))):
            first = solver.make_h1(field.mo_coeff, field.mo_occ)
        induced = (uhf if unrestricted(field) else rhf).gen_vind(prepared(field), field.mo_coeff, field.mo_occ)
        changes, energies = solver.solve_mo1(*orbitals, first, fx=induced)
        del induced  # it keeps integrals, and what comes needs the memory
        hessian = solver.hess_elec(*orbitals, mo1=changes, mo_e1=energies, h1ao=first) + solver.hess_nuc(field.mol)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "emory" not in str(error):
            raise
        raise _too_little_memory(field) from error
    dipole = _dipole_derivatives(field, changes)
    if not (np.isfinite(hessian).all() and np.isfinite(dipole).all()):
        raise CalculationError(FailureClass.CHEMISTRY, "the second derivatives of the energy are not finite")
    return _invariant((hessian + hessian.transpose(1, 0, 3, 2)) / 2), dipole


@contextmanager
def _blocks(most: int) -> Iterator[None]:
    """Derivative integrals with that many auxiliary functions at a time, where PySCF takes 480 whatever the memory."""
    there = df_rhf.ao2mo

    def partition(locations: Any, wanted: int) -> Any:
        return there.outcore.balance_partition(locations, min(wanted, most))

    smaller = SimpleNamespace(outcore=SimpleNamespace(balance_partition=partition))
    for module in (df_rhf, df_uhf):
        module.ao2mo = smaller
    try:
        yield
    finally:
        for module in (df_rhf, df_uhf):
            module.ao2mo = there


def _free_mb(field: Any) -> float:
    """What the limit leaves beside all that the process holds; refuses what would end in a crash of PySCF's C code."""
    free_mb = float(field.max_memory - lib.current_memory()[1])
    widest = max(stop - start for _, _, start, stop in field.mol.aoslice_by_atom())
    fitting = field.with_df.get_naoaux() if getattr(field, "with_df", None) is not None else 0
    atom_mb = 9 * field.mol.nao * widest * fitting * 8 / 1e6  # an atom's block of derivative integrals is not split
    lacking_mb = COPIES * atom_mb - (1 - COPIES * SHARE_OF_MEMORY) * free_mb
    if lacking_mb > 0:
        raise _too_little_memory(field, f" (about {lacking_mb:.0f} MB more)")
    return free_mb


def _too_little_memory(field: Any, needed: str = "") -> CalculationError:
    limit = f"the memory limit of {field.max_memory:.0f} MB"
    return CalculationError(
        FailureClass.POISON,
        f"second derivatives need more than {limit}{needed}; raise the level's memory_mb",
        FailureCode.MEMORY,
    )


def _invariant(hessian: np.ndarray) -> np.ndarray:
    """The same with each atom's own block such that moving the whole molecule changes nothing.

    PySCF leaves out that the integration grid moves with the atoms, which on a coarse grid falsifies those blocks, and only
    those to speak of. Without this the lowest modes at grid level 1 are off by 60 cm^-1; with it they are those of level 4.
    """
    found = hessian.copy()
    for atom in range(len(hessian)):
        own = hessian[atom, atom] - hessian[atom].sum(axis=0)
        found[atom, atom] = (own + own.T) / 2
    return found


def _dipole_derivatives(field: Any, changes: Any) -> np.ndarray:
    """D dipole_y / d position_ax, (atoms, 3, 3), from the change of the occupied orbitals with every displacement."""
    mol = field.mol
    position = mol.intor_symmetric("int1e_r", comp=3)
    spins = changes if unrestricted(field) else (changes,)
    density = field.make_rdm1()
    density = density.sum(axis=0) if unrestricted(field) else density
    functions = mol.nao
    gradient = mol.intor("int1e_irp").reshape(3, 3, functions, functions)  # <i| r_y d_x j>
    found = np.zeros((mol.natm, 3, 3))
    for atom, (_, _, first, last) in enumerate(mol.aoslice_by_atom()):
        for orbitals, by_atom in zip(occupied(field), spins, strict=True):
            shift = np.asarray(by_atom[atom])  # (3, functions, occupied)
            found[atom] -= (4 / len(spins)) * np.einsum("xpi,ypq,qi->xy", shift, position, orbitals, optimize=True)
        moved = slice(first, last)
        found[atom] += 2 * np.einsum("yxpq,pq->xy", gradient[:, :, :, moved], density[:, moved])
        found[atom] += mol.atom_charge(atom) * np.eye(3)
    return found


def _straightened(mol: Any, masses: np.ndarray) -> Any:
    """The molecule, or, if it is linear but for noise, a copy with its atoms on one axis, for that has 3N - 5 vibrations."""
    positions = np.asarray(mol.atom_coords())
    centre = masses @ positions / masses.sum()
    axis = np.linalg.svd((positions - centre) * np.sqrt(masses)[:, None])[2][0]
    on_axis = centre + np.outer((positions - centre) @ axis, axis)
    if np.abs(positions - on_axis).max() > LINEAR_BOHR:
        return mol
    return mol.copy().set_geom_(on_axis, unit="Bohr")
