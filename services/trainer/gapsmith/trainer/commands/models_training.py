"""How a model was trained, in a few lines: time, energy, and the course of its loss."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from gapsmith.core.units import duration
from gapsmith.store.training_runs import Run
from gapsmith.training.energy import Energy
from gapsmith.training.metrics import Point

BLOCKS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 32  # of a curve


def training_lines(run: Run, points: Sequence[Point]) -> list[str]:
    """A run for a terminal."""
    processes = "one process" if run.processes == 1 else f"{run.processes} processes ({run.backend})"
    out = [f"time    {duration(run.elapsed_s)} for {run.steps} steps, {processes} on {run.host}, {run.device}"]
    if run.energy is not None:
        out += [f"energy  {energy(run.energy)}"]
    return out + list(_curves(points))


def energy(amount: Energy) -> str:
    """An amount as people write it, and whether it was measured."""
    for unit, kwh in (("kWh", 1.0), ("Wh", 1e-3), ("mWh", 1e-6)):
        if amount.kwh >= kwh or unit == "mWh":
            break
    how = amount.method if amount.measured else f"estimated: {amount.method}"
    return f"{amount.kwh / kwh:.3g} {unit} ({how})"


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """A curve of block characters, from the smallest value to the largest; many values are averaged into ``width``."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1)) if span else 0] for mean in means)


def _curves(points: Sequence[Point]) -> Iterator[str]:
    names = sorted({name for point in points for name in point.losses}, key=lambda name: (name != "loss", name))
    width = max((len(name) for name in names), default=0)
    for name in names:
        values = [value for point in points if (value := point.losses.get(name)) is not None]
        if values:
            yield f"{name:{max(width, 6)}}  {values[0]:.4g} {sparkline(values)} {values[-1]:.4g}"
