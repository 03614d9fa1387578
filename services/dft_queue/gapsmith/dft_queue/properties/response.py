"""Fields from which response properties are computed."""

from typing import Any, Final

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.properties.first_order import OccupiedSpace, ResponseDF, ResponseNumInt

TIGHT_HARTREE: Final = 1e-9
TIGHT_GRADIENT: Final = 1e-5
SAME_STATE_HARTREE: Final = 1e-4


def prepared(field: Any) -> Any:
    """A copy of a converged field from which responses are computed: tightly converged, with PySCF's own integration.

    What comes back is for every function of this package; given to it again, it is returned as it is, so several properties
    share one. The field that it is made of stays as it was.

    Raises:
        CalculationError: the field has not converged, or does not converge tightly (chemistry).
    """
    if getattr(field, "gapsmith_prepared", False):
        return field
    if not field.converged:
        raise CalculationError(FailureClass.CHEMISTRY, "properties need a converged SCF; this one is not")
    ready = (field.undo_soscf() if hasattr(field, "undo_soscf") else field).copy()
    ready.level_shift, ready.damp, ready.verbose, ready.chkfile = 0.0, 0.0, 0, None
    ready.conv_tol = min(field.conv_tol, TIGHT_HARTREE)
    ready.conv_tol_grad = TIGHT_GRADIENT
    start = field.make_rdm1()
    ready.kernel(dm0=start)
    if not ready.converged:
        ready = ready.newton().run(dm0=start).undo_soscf()
    if not ready.converged or abs(ready.e_tot - field.e_tot) > SAME_STATE_HARTREE:
        reason = "the SCF converged, but not tightly enough for response properties, or to another state"
        raise CalculationError(FailureClass.CHEMISTRY, reason)
    space = OccupiedSpace(occupied(ready), ready.get_ovlp())
    ready._numint = ResponseNumInt(space)
    if getattr(ready, "with_df", None) is not None:
        ready.with_df = ResponseDF(ready.with_df, space)
    ready.gapsmith_prepared = True
    return ready


def unrestricted(field: Any) -> bool:
    """Whether a field has orbitals for each spin."""
    return np.ndim(field.mo_coeff) == 3


def occupied(field: Any) -> list[np.ndarray]:
    """Occupied orbitals (functions, orbitals), of each spin if the field is unrestricted."""
    orbitals, occupations = np.asarray(field.mo_coeff), np.asarray(field.mo_occ)
    if not unrestricted(field):
        orbitals, occupations = orbitals[None], occupations[None]
    return [block[:, filled > 0] for block, filled in zip(orbitals, occupations, strict=True)]
