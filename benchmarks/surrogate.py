"""Errors, calibration and speed of the shipped surrogate on QM9's test split; speed of the GFN2-xTB relaxation."""

import statistics
import time
from typing import Any

import numpy as np

from gapsmith.data import qm9
from gapsmith.surrogate.evaluate import evaluate
from gapsmith.surrogate.predictor import SHIPPED
from gapsmith.surrogate.relaxation import relax

RELAXED = 30
NOISE_ANGSTROM = 0.1  # generated geometries are about as rough


def measure() -> dict[str, Any]:
    """All of the test split, and some molecules relaxed from displaced geometries."""
    data = qm9.load()
    rng = np.random.default_rng(0)
    times = []
    for index in qm9.split(len(data))["test"][:RELAXED]:
        atoms = data.atoms(int(index))
        start = data.coordinates[atoms] + rng.normal(0, NOISE_ANGSTROM, data.coordinates[atoms].shape)
        started = time.process_time()
        relax(data.numbers[atoms], start.astype(np.float64))
        times.append(time.process_time() - started)
    return {**evaluate(SHIPPED, "test").numbers(), "relaxation_median_cpu_s": round(statistics.median(times), 3)}
