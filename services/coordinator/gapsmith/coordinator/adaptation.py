"""What a campaign's own labels say of the predictions by which their molecules were chosen.

Error bars that hold on average are too narrow where one has chosen the best of thousands: a choice prefers the molecules of
which the model is wrong in the wanted direction (the optimizer's curse: Smith and Winkler, Management Science 2006). The
labels of what was chosen show by how much. The predictions that count are those that stood when a molecule was chosen: the
models of today have learned from its label.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import halfnorm

LEVEL: Final = 0.9  # of the intervals that are to hold
PRIOR: Final = 5  # labels that the trust in the model's own error bars is worth
LATEST: Final = 60  # labels that count: older ones are of models that are no longer used


@dataclass(frozen=True)
class Adaptation:
    """How predictions of one property are to be read in a campaign."""

    shift: float = 0.0  # to add to means, in the unit of the property
    factor: float = 1.0  # to multiply standard deviations by

    @classmethod
    def of(cls, mean: np.ndarray, std: np.ndarray, label: np.ndarray) -> "Adaptation":
        """Learn from labels.

        The shift is the median error, drawn towards zero by ``PRIOR`` labels without one; the factor makes intervals
        hold ``LEVEL`` of the errors that are left and of ``PRIOR`` Gaussian ones (split conformal prediction with a prior).

        Args:
            mean: (labels,) predictions, the latest labels last.
            std: (labels,) their standard deviations, positive.
            label: (labels,) what was computed.
        """
        mean, std, label = (np.asarray(array, dtype=np.float64)[-LATEST:] for array in (mean, std, label))
        if len(label) == 0:
            return cls()
        error = label - mean
        shift = float(np.median(error)) * len(error) / (len(error) + PRIOR)
        believed = halfnorm.ppf((np.arange(PRIOR) + 0.5) / PRIOR)
        scores = np.concatenate([np.abs(error - shift) / std, believed])
        return cls(shift, float(np.quantile(scores, LEVEL, method="hazen") / halfnorm.ppf(LEVEL)))
