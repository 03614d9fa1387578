"""Labels that no chemistry explains: an SCF that converged to nonsense must not teach the model, nor judge it.

A label that surprised when it was computed and was confirmed by another route (``dft_queue.confirming``) is not among them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

DEVIATIONS: Final = 8.0  # robust standard deviations above the median error
LEAST_EV: Final = 1.5  # smaller errors are the model's own, on molecules that it does not know
MAD_TO_DEVIATION: Final = 1.4826  # of a Gaussian


class SetAside(BaseModel):
    """A label that was kept out of a training, and why."""

    model_config = ConfigDict(frozen=True)
    calculation_id: str
    gap_ev: float
    error_ev: float  # of the live model


def outliers(errors_ev: Sequence[float]) -> list[int]:
    """Places of the errors that are far beyond what is usual among them, by median and median absolute deviation.

    Args:
        errors_ev: absolute errors of the live model on each label; errors that are not finite count as outliers.
    """
    errors = np.asarray(errors_ev, dtype=np.float64)
    finite = np.isfinite(errors)
    if not finite.any():
        return list(range(len(errors)))
    middle = np.median(errors[finite])
    deviation = MAD_TO_DEVIATION * np.median(np.abs(errors[finite] - middle))
    limit = max(LEAST_EV, middle + DEVIATIONS * deviation)
    return [int(place) for place in np.flatnonzero(~finite | (errors > limit))]
