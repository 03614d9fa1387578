"""Quality and speed of the shipped generator, beside real molecules in the same measures."""

from typing import Any

from gapsmith.generator.evaluate import measure as evaluate
from gapsmith.generator.generator import DEFAULT_WEIGHTS
from gapsmith.generator.sampling import SamplingOptions

MOLECULES = 400


def measure() -> dict[str, Any]:
    """One thread; whatever the data has, and for a wanted gap of 4 eV."""
    return evaluate(DEFAULT_WEIGHTS, MOLECULES, [None, 4.0], 0, SamplingOptions())
