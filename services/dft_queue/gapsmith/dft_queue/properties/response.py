"""Fields from which response properties are computed, and the orbital rotations that every response is made of."""

from typing import Any, Final

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.integration import CachedNumInt
from gapsmith.dft_queue.properties.first_order import BoundedNumInt, OccupiedSpace, ResponseDF, ResponseNumInt

TIGHT_HARTREE: Final = 1e-7  # integration in single precision allows no more
TIGHT_GRADIENT: Final = 3e-5
SAME_STATE_HARTREE: Final = 1e-4


def prepared(field: Any) -> Any:
    """A copy of a converged field, or of a tightened one, with integrals and integration made for responses.

    Raises:
        CalculationError: the field has not converged (chemistry).
    """
    ready = _copy(field)
    space = OccupiedSpace(occupied(ready), ready.get_ovlp())
    blocks = field._numint.kept(field.mol, field.grids) if isinstance(field._numint, CachedNumInt) else None
    ready._numint = ResponseNumInt(space, blocks)
    if getattr(ready, "with_df", None) is not None:
        ready.with_df = ResponseDF(ready.with_df, space)
    return ready


def tightened(field: Any) -> Any:
    """A copy of a converged field that is converged as far as second derivatives need; first-order responses do not.

    Raises:
        CalculationError: the field has not converged, or does not converge further (chemistry).
    """
    tight = _copy(field)
    tight.conv_tol, tight.conv_tol_grad = min(field.conv_tol, TIGHT_HARTREE), TIGHT_GRADIENT
    tight.kernel(dm0=field.make_rdm1())
    if not tight.converged:
        tight = tight.newton().run(dm0=field.make_rdm1()).undo_soscf()
    if not tight.converged or abs(tight.e_tot - field.e_tot) > SAME_STATE_HARTREE:
        reason = "the SCF converged, but not tightly enough for second derivatives, or to another state"
        raise CalculationError(FailureClass.CHEMISTRY, reason)
    tight._numint = BoundedNumInt()
    if hasattr(field._numint, "reset"):
        field._numint.reset()  # values on the grid that it keeps: what comes needs the memory
    return tight


def _copy(field: Any) -> Any:
    """Without what a rung of the ladder added; the original stays as it is."""
    if not field.converged:
        raise CalculationError(FailureClass.CHEMISTRY, "properties need a converged SCF; this one is not")
    copy = (field.undo_soscf() if hasattr(field, "undo_soscf") else field).copy()
    copy.level_shift, copy.damp, copy.verbose, copy.chkfile = 0.0, 0.0, 0, None
    copy.scf_summary = {}
    return copy


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
