"""Quality, speed and obedience of the shipped generator, beside real molecules in the same measures."""

from typing import Any

from gapsmith.generator.evaluation.conditional import Evaluator
from gapsmith.generator.evaluation.measuring import Effort, measure_generator
from gapsmith.generator.evaluation.report import numbers
from gapsmith.generator.generator import Generator
from gapsmith.generator.sampling import SamplingOptions

EFFORT = Effort(molecules=400, conditional=400, busted=400)


def measure() -> dict[str, Any]:
    """One thread; whatever the data has, for a wanted gap of 4 eV, and wanted gaps by EDM's protocol."""
    report = measure_generator(Generator.load(), EFFORT, SamplingOptions(), gaps_ev=(4.0,), evaluator=Evaluator.load())
    return numbers(report)
