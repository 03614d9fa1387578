"""All measures of a generator, or of a file of molecules, beside those of real molecules."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError
from gapsmith.generator.evaluation import conditional, real
from gapsmith.generator.evaluation.conditional import Conditional, Evaluator, Scores
from gapsmith.generator.evaluation.files import Drawn, read
from gapsmith.generator.evaluation.plausibility import bust
from gapsmith.generator.evaluation.quality import Quality, evaluate
from gapsmith.generator.evaluation.results import Met, Report, Row, Speed
from gapsmith.generator.generator import Generated, Generator
from gapsmith.generator.sampling import SamplingOptions

Progress = Callable[[str, int, int], None]  # told what is done, how much of it, of how much
REAL = "QM9"


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


class Attempts(Protocol):
    """What came of some attempts, out of a generator or a file."""

    @property
    def molecules(self) -> Sequence[Molecule]:
        """Those that came."""
        ...

    @property
    def attempts(self) -> int:
        """All of them."""
        ...

    @property
    def refused(self) -> Counter[str]:
        """Why others did not come."""
        ...


@dataclass(frozen=True)
class Effort:
    """How much to do."""

    molecules: int = 1000  # attempts of a row
    conditional: int = 1000  # gaps asked for by EDM's protocol; 0 leaves it out
    busted: int = 1000  # molecules of a row that PoseBusters sees; 0 leaves it out
    seed: int = 0
    processes: int = 0  # for PoseBusters; 0 is this one


def measure_generator(
    generator: Generator,
    effort: Effort,
    options: SamplingOptions,
    *,
    gaps_ev: tuple[float, ...] = (),
    evaluator: Evaluator | None = None,
    on_progress: Progress = silent,
) -> Report:
    """Measure a generator.

    Args:
        generator: with its weights.
        effort: how much.
        options: of sampling.
        gaps_ev: wanted gaps that get rows of their own, beside the one that follows the data.
        evaluator: scores gaps; None leaves all of that out.
        on_progress: told how far it is.
    """
    rows = {}
    wishes: dict[str, float | None] = {"any gap": None, **{f"{gap:g} eV": gap for gap in gaps_ev}}
    for name, gap in wishes.items():
        sampled, clock = _sample(generator, effort.molecules, gap, effort.seed, options, on_progress, name)
        quality = _quality(name, sampled, effort, on_progress)
        met = None if gap is None or evaluator is None else _met(evaluator, sampled, gap)
        rows[name] = Row(quality, _speed(clock, quality), met)
    asked, scores = None, None
    if evaluator is not None and effort.conditional:
        asked, scores = _protocol(generator, evaluator, effort, options, on_progress)
    return Report({**rows, REAL: _real(effort, effort.molecules, on_progress)}, asked, scores)


def measure_file(path: Path, effort: Effort, *, on_progress: Progress = silent) -> Report:
    """Measure the molecules of an SDF or XYZ file; raises InputError if it has none."""
    drawn = read(path)
    quality = _quality(path.name, drawn, effort, on_progress)
    rows = {path.name: Row(quality), REAL: _real(effort, min(effort.molecules, drawn.attempts), on_progress)}
    return Report(rows, notes=drawn.notes)


def _quality(name: str, drawn: Attempts, effort: Effort, on_progress: Progress) -> Quality:
    busted = min(len(drawn.molecules), effort.busted)
    tests = partial(
        bust,
        most=effort.busted,
        seed=effort.seed,
        processes=effort.processes,
        on_progress=lambda done: on_progress(f"{name}: PoseBusters", done, busted),
    )
    return evaluate(
        drawn.molecules,
        drawn.attempts,
        drawn.refused,
        bust=tests if effort.busted else None,
        reference=real.reference(),
        on_progress=lambda done: on_progress(f"{name}: judging", done, len(drawn.molecules)),
    )


def _real(effort: Effort, count: int, on_progress: Progress) -> Row:
    molecules = real.molecules(count, effort.seed)
    return Row(_quality(REAL, Drawn(molecules, len(molecules)), effort, on_progress))


def _sample(
    generator: Generator,
    count: int,
    gap: float | None,
    seed: int,
    options: SamplingOptions,
    on_progress: Progress,
    name: str,
) -> tuple[Generated, tuple[float, float]]:
    """Molecules, and the wall time and CPU time that they took, seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    sampled = generator.sample(
        count,
        None if gap is None else {"gap_ev": gap},
        seed,
        options=options,
        on_progress=lambda done: on_progress(f"{name}: sampling", done, count),
    )
    return sampled, (time.perf_counter() - wall, time.process_time() - cpu)


def _speed(clock: tuple[float, float], quality: Quality) -> Speed:
    wall, cpu = clock
    each = (wall, quality.attempts / wall, quality.attempts / cpu, quality.valid_and_unique * quality.attempts / wall)
    return Speed(*(round(value, 2) for value in each))


def _met(evaluator: Evaluator, sampled: Generated, wanted_ev: float) -> Met:
    gaps = []
    for molecule in sampled.molecules:
        try:
            gaps.append(evaluator.gap_ev(molecule))
        except InputError:
            continue
    found = np.array(gaps)
    error = np.abs(found - wanted_ev)
    mean, mae = (round(float(x.mean()), 4) if len(x) else float("nan") for x in (found, error))
    return Met(wanted_ev, len(found), mean, mae, round(float((error <= 0.1).sum()) / sampled.attempts, 4))


def _protocol(
    generator: Generator, evaluator: Evaluator, effort: Effort, options: SamplingOptions, on_progress: Progress
) -> tuple[Conditional, Scores]:
    asked = conditional.targets(effort.conditional, effort.seed)
    gaps = real.data().properties["gap_ev"][asked]
    wanted: list[Mapping[str, float]] = [{"gap_ev": float(gap)} for gap in gaps]
    sampled = generator.sample(
        len(wanted),
        wanted,
        effort.seed,
        options=options,
        on_progress=lambda done: on_progress("gaps: sampling", done, len(wanted)),
    )
    return conditional.score(
        evaluator,
        asked,
        sampled.molecules,
        sampled.origins,
        sampled.refused,
        seed=effort.seed,
        on_progress=lambda done: on_progress("gaps: scoring", done, len(sampled.molecules) + len(asked)),
    )
