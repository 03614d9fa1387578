"""Vertical excitations by linear-response time-dependent density functional theory."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.properties.response import by_spin, prepared, unrestricted

TOLERANCE: Final = 1e-3  # of the residual: energies are then right to 1e-5 eV, oscillator strengths to 1e-5
MOST_CYCLES: Final = 60
TRIAL_VECTORS: Final = 600  # kept; PySCF takes room for thousands where the limit allows it
EV_NM: Final = 1239.8419843320026  # energy times wavelength


@dataclass(frozen=True)
class Excitation:
    """A vertical excitation from the ground state."""

    energy_ev: float
    wavelength_nm: float
    oscillator_strength: float  # length gauge
    multiplicity: int | None  # 1 (singlet); None from an unrestricted ground state, whose excited states mix
    method: str  # TDDFT, or TDA (Tamm-Dancoff) where the former did not converge


def excitations(field: Any, states: int) -> list[Excitation]:
    """The lowest excitations of a converged Kohn-Sham field, singlets of a restricted one; the field is left as it was.

    Coupling and exchange go through density fitting where the field has it.

    Args:
        field: converged RKS or UKS.
        states: how many; fewer come back where the basis has fewer.

    Raises:
        CalculationError: neither full TDDFT nor the Tamm-Dancoff approximation converges (chemistry).
    """
    ready = prepared(field)
    there = sum(int((filled > 0).sum() * (filled == 0).sum()) for _, _, filled in by_spin(ready))
    wanted = min(states, there)
    if wanted < 1:
        return []
    for method, response in (("TDDFT", ready.TDDFT()), ("TDA", ready.TDA())):
        response.nstates, response.conv_tol, response.max_cycle = wanted, TOLERANCE, MOST_CYCLES
        response.verbose = 0
        response.max_memory = min(ready.max_memory, 64e-6 * there * (TRIAL_VECTORS + 2 * wanted))
        try:
            response.kernel()
        except (RuntimeError, np.linalg.LinAlgError):
            continue  # around an unstable wave function full TDDFT has no real solution
        energies = np.asarray(response.e)
        if len(energies) == wanted and np.all(response.converged) and np.all(energies > 0):
            strengths = response.oscillator_strength()
            multiplicity = None if unrestricted(ready) else 1
            order = np.argsort(energies)
            return [
                Excitation(ev, EV_NM / ev, float(strengths[place]), multiplicity, method)
                for place in order
                if (ev := float(energies[place] * HARTREE_TO_EV))
            ]
    reason = (
        f"the excitations did not converge within {MOST_CYCLES} cycles, neither in full nor in the Tamm-Dancoff form"
    )
    raise CalculationError(FailureClass.CHEMISTRY, reason)
