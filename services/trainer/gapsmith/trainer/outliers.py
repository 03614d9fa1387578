"""Labels that no chemistry explains: an SCF that converged to nonsense must not teach the model, nor judge it.

A label that surprised when it was computed and was confirmed by another route (``dft_queue.confirming``) is not among them.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

DEVIATIONS: Final = 8.0  # robust standard deviations above the median error
LEAST: Final = 1.5  # smaller errors are the model's own, on molecules that it does not know
MAD_TO_DEVIATION: Final = 1.4826  # of a Gaussian


class SetAside(BaseModel):
    """A label that was kept out of a training, and why."""

    model_config = ConfigDict(frozen=True)
    calculation_id: str
    property: str  # that the campaign wants
    value: float  # in its unit
    error: float  # of the live model


def outliers(errors: Sequence[float]) -> list[int]:
    """Places of the errors that are far beyond what is usual among them, by median and median absolute deviation.

    Args:
        errors: absolute errors of the live model on each label; errors that are not finite count as outliers.
    """
    found = np.asarray(errors, dtype=np.float64)
    finite = np.isfinite(found)
    if not finite.any():
        return list(range(len(found)))
    middle = np.median(found[finite])
    deviation = MAD_TO_DEVIATION * np.median(np.abs(found[finite] - middle))
    limit = max(LEAST, middle + DEVIATIONS * deviation)
    return [int(place) for place in np.flatnonzero(~finite | (found > limit))]
