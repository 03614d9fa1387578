"""What the fork server does once, so that a calculation's process starts with everything in memory.

Besides importing, it computes a water molecule: libraries load much on first use, and PySCF parses basis sets from text.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

import gapsmith.dft_queue.engines.qcengine_engine
import gapsmith.dft_queue.relaxation  # noqa: F401  # imported for its effect, like the one above
from gapsmith.core.errors import GapsmithError
from gapsmith.core.levels import shipped
from gapsmith.dft_queue.basis import elements_without
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.jobs import CalculationInput

WATER: Final = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])
COMMON: Final = (1, 6, 7, 8, 9, 14, 15, 16, 17)  # elements


def rehearse() -> None:
    """Compute water at the triage level; whatever is wrong will be said by the calculation that meets it."""
    level = shipped()["triage"]
    job = CalculationInput.of(np.array([8, 1, 1]), WATER, level)
    with (
        contextlib.suppress(GapsmithError, OSError),
        contextlib.redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory(prefix="gapsmith-dft-") as folder,
    ):
        compute(job, Path(folder))
    for basis in (level.basis, level.density_fitting):
        assert basis is not None  # the triage level names both
        elements_without(basis, COMMON)


rehearse()
