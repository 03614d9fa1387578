"""What an evaluation gives."""

from dataclasses import dataclass, field

from gapsmith.generator.evaluation.conditional import Conditional, Scores
from gapsmith.generator.evaluation.quality import Quality


@dataclass(frozen=True)
class Speed:
    """How fast molecules came, hydrogens and checks included."""

    seconds: float
    attempts_per_s: float
    attempts_per_cpu_s: float
    valid_unique_per_s: float


@dataclass(frozen=True)
class Met:
    """How well a wanted gap was met, by the evaluator, over all molecules that came."""

    wanted_ev: float
    scored: int
    mean_ev: float
    mae_ev: float
    within_tenth: float  # share of all attempts within 0.1 eV


@dataclass(frozen=True)
class Row:
    """One set of molecules."""

    quality: Quality
    speed: Speed | None = None
    met: Met | None = None


@dataclass(frozen=True)
class Report:
    """Everything that was measured."""

    rows: dict[str, Row]  # by name, the real molecules last
    conditional: Conditional | None = None
    scores: Scores | None = None
    notes: list[str] = field(default_factory=list)
