"""One calculation with PySCF, in this process: single point, or relaxation and what is known at its end."""

import platform
import time
from importlib.metadata import version

import numpy as np

from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.levels import find
from gapsmith.dft_queue.scf import converge, frontier_ev, molecule

PACKAGES = ("gapsmith", "pyscf", "geometric", "numpy")


def compute(job: CalculationInput, *, memory_mb: int = 3000) -> CalculationOutput:
    """Run a calculation; raises CalculationError with its class and reason."""
    job.check()
    wall, cpu = time.perf_counter(), time.process_time()
    level = find(job.level)
    positions: np.ndarray | None = None
    steps = 0
    if level.relax and len(job.numbers) > 1:
        from gapsmith.dft_queue.relaxation import relax  # its import costs half a second that a single point saves

        relaxed = relax(job, level, memory_mb=memory_mb)
        scf, positions, steps = relaxed.scf, relaxed.coordinates, relaxed.steps
        computed_at = np.asarray(scf.mean_field.mol.atom_coords()) * BOHR_TO_ANGSTROM
        if not np.allclose(computed_at, positions, atol=1e-6):  # the optimiser may end on an earlier step
            scf = converge(molecule(job.numbers, positions, job.charge, job.spin, memory_mb=memory_mb), level)
    else:
        start = np.array(job.coordinates_angstrom)
        scf = converge(molecule(job.numbers, start, job.charge, job.spin, memory_mb=memory_mb), level)
    field = scf.mean_field
    homo_ev, lumo_ev = frontier_ev(field, HARTREE_TO_EV)
    return CalculationOutput(
        gap_ev=lumo_ev - homo_ev,
        homo_ev=homo_ev,
        lumo_ev=lumo_ev,
        energy_hartree=float(field.e_tot),
        dipole_debye=float(np.linalg.norm(field.dip_moment(unit="Debye", verbose=0))),
        mulliken_e=tuple(float(charge) for charge in field.mulliken_pop(verbose=0)[1]),
        rung=scf.rung,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        coordinates_angstrom=None
        if positions is None
        else tuple((float(x), float(y), float(z)) for x, y, z in positions),
        relaxation_steps=steps,
        software={**{name: _version(name) for name in PACKAGES}, "python": platform.python_version()},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:  # run from a source tree
        return "unknown"
