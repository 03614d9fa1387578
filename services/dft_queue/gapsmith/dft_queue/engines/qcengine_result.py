"""What is in a result of QCEngine, by our names: every program fills other fields."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.units import AU_TO_DEBYE, HARTREE_TO_EV
from gapsmith.dft_queue.engines.protocol import Found
from gapsmith.dft_queue.jobs import CalculationInput

NO_GAP = "no gap: QCEngine hands on no energy of an occupied and an empty orbital from this program"


def energy_hartree(result: Any) -> float:
    """Energy of a result of either driver.

    Raises:
        CalculationError: poison; it holds none, or one that is not finite.
    """
    energy = result.properties.return_energy
    if energy is None and np.ndim(result.return_result) == 0:
        energy = result.return_result
    if energy is None or not np.isfinite(energy):
        raise CalculationError(FailureClass.POISON, f"the program gave no energy but {energy}")
    return float(energy)


def found(result: Any, job: CalculationInput) -> Found:
    """Everything that we have a field for."""
    homo_ev, lumo_ev = frontier_ev(result, job)
    gap_ev = None if homo_ev is None or lumo_ev is None else lumo_ev - homo_ev
    dipole = _dipole_au(result)
    values = {
        "energy_hartree": energy_hartree(result),
        "homo_ev": homo_ev,
        "lumo_ev": lumo_ev,
        "gap_ev": gap_ev,
        "dipole_debye": None if dipole is None else float(np.linalg.norm(dipole)) * AU_TO_DEBYE,
        "mulliken_e": _charges(result, len(job.numbers)),
    }
    software = {str(result.provenance.creator).lower(): str(result.provenance.version)}
    return Found(values, (NO_GAP,) if gap_ev is None else (), software=software)


def frontier_ev(result: Any, job: CalculationInput) -> tuple[float | None, float | None]:
    """Highest occupied and lowest empty orbital over both spins, from wherever a program puts them."""
    if pair := result.extras.get("frontier_ev"):
        return pair[0], pair[1]
    variables = _variables(result)
    if "HOMO" in variables and "LUMO" in variables:
        homo, lumo = (float(np.ravel(variables[name])[0]) * HARTREE_TO_EV for name in ("HOMO", "LUMO"))
        return homo, lumo
    orbitals = result.wavefunction
    if orbitals is None or orbitals.scf_eigenvalues_a is None:
        return None, None
    electrons = sum(job.numbers) - job.charge
    counted = (
        result.properties.calcinfo_nalpha,
        result.properties.calcinfo_nbeta,
    )  # fewer with effective core potentials
    alpha, beta = counted if None not in counted else ((electrons + job.spin) // 2, (electrons - job.spin) // 2)
    same = orbitals.scf_eigenvalues_b is None
    spins = (
        (np.sort(np.ravel(orbitals.scf_eigenvalues_a)), alpha),
        (np.sort(np.ravel(orbitals.scf_eigenvalues_a if same else orbitals.scf_eigenvalues_b)), beta),
    )
    occupied = [float(levels[count - 1]) * HARTREE_TO_EV for levels, count in spins if count > 0]
    empty = [float(levels[count]) * HARTREE_TO_EV for levels, count in spins if count < len(levels)]
    return max(occupied, default=None), min(empty, default=None)


def _dipole_au(result: Any) -> Any:
    """Vector (3,), e a0."""
    if (dipole := result.properties.scf_dipole_moment) is not None:
        return dipole
    if (dipole := result.extras.get("dip_vec")) is not None:  # of MOPAC
        return dipole
    return next(
        (value for name, value in _variables(result).items() if name.endswith("DIPOLE") and len(value) == 3), None
    )


def _charges(result: Any, atoms: int) -> tuple[float, ...] | None:
    for charges in (result.extras.get("atom_charges"), _variables(result).get("MULLIKEN CHARGES")):
        if charges is not None and np.size(charges) == atoms:
            return tuple(float(charge) for charge in np.ravel(charges))
    return None


def _variables(result: Any) -> Mapping[str, Any]:
    """What Psi4, NWChem and their like report by name."""
    variables = result.extras.get("qcvars") or {}
    return {str(name).upper(): value for name, value in variables.items()}
