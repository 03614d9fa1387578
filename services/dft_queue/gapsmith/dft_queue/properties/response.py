"""Fields from which response properties are computed, and the orbital rotations that every response is made of."""

from typing import Any, Final

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.properties.first_order import OccupiedSpace, ResponseDF, ResponseNumInt

TIGHT_HARTREE: Final = 1e-7  # integration in single precision allows no more
TIGHT_GRADIENT: Final = 3e-5
SAME_STATE_HARTREE: Final = 1e-4


def prepared(field: Any, *, tight: bool = False) -> Any:
    """A copy of a converged field with integrals and integration made for responses; the field stays as it was.

    Args:
        field: converged RKS or UKS.
        tight: converge it further first, which second derivatives need and first-order responses do not.

    Raises:
        CalculationError: the field has not converged, or does not converge further (chemistry).
    """
    if not field.converged:
        raise CalculationError(FailureClass.CHEMISTRY, "properties need a converged SCF; this one is not")
    ready = (field.undo_soscf() if hasattr(field, "undo_soscf") else field).copy()
    ready.level_shift, ready.damp, ready.verbose, ready.chkfile = 0.0, 0.0, 0, None
    ready.scf_summary = {}
    if tight:
        ready = _tightened(ready)
    space = OccupiedSpace(occupied(ready), ready.get_ovlp())
    ready._numint = ResponseNumInt(space)
    if getattr(ready, "with_df", None) is not None:
        ready.with_df = ResponseDF(ready.with_df, space)
    return ready


def unrestricted(field: Any) -> bool:
    """Whether a field has orbitals for each spin."""
    return np.ndim(field.mo_coeff) == 3


def occupied(field: Any) -> list[np.ndarray]:
    """Occupied orbitals (functions, orbitals), of each spin if the field is unrestricted."""
    return [coefficients[:, filled > 0] for coefficients, _, filled in by_spin(field)]


def by_spin(field: Any) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(coefficients, energies, occupations) of the orbitals, once, or for each spin if the field is unrestricted."""
    parts = np.asarray(field.mo_coeff), np.asarray(field.mo_energy), np.asarray(field.mo_occ)
    return list(zip(*parts, strict=True)) if unrestricted(field) else [parts]


def _tightened(field: Any) -> Any:
    field.conv_tol, field.conv_tol_grad = min(field.conv_tol, TIGHT_HARTREE), TIGHT_GRADIENT
    start, energy = field.make_rdm1(), field.e_tot
    field.kernel(dm0=start)
    if not field.converged:
        field = field.newton().run(dm0=start).undo_soscf()
    if not field.converged or abs(field.e_tot - energy) > SAME_STATE_HARTREE:
        reason = "the SCF converged, but not tightly enough for second derivatives, or to another state"
        raise CalculationError(FailureClass.CHEMISTRY, reason)
    return field
