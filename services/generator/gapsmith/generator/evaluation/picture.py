"""The picture of an evaluation: shares, distributions beside those of real molecules, and wanted against found gaps."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gapsmith.generator.evaluation.conditional import Scores
from gapsmith.generator.evaluation.distributions import Distributions
from gapsmith.generator.evaluation.results import Report, Row
from gapsmith.training.files import replacing

COLORS = ("#0b6e4f", "#b23a48", "#f2c14e", "#4c6fb1", "#8d5a97")
REAL = "#7f8c9a"
MEASURES: dict[str, Callable[[Row], float]] = {
    "atoms stable": lambda row: row.quality.atom_stability,
    "molecules stable": lambda row: row.quality.molecule_stability,
    "valid": lambda row: row.quality.valid,
    "valid, unique": lambda row: row.quality.valid_and_unique,
    "connected": lambda row: row.quality.connected,
    "PoseBusters": lambda row: row.quality.plausibility.passed if row.quality.plausibility else np.nan,
}


def draw(report: Report, title: str, path: Path) -> None:
    """Draw an evaluation; raises OSError if the file cannot be written."""
    *names, real = report.rows
    colors = dict(zip(names, (COLORS[i % len(COLORS)] for i in range(len(names))), strict=True)) | {real: REAL}
    shapes = {name: row.quality.shape for name, row in report.rows.items() if row.quality.shape is not None}
    figure = Figure(figsize=(15, 8.2), layout="constrained")
    axes = figure.subplots(2, 3)
    _shares(axes[0, 0], report.rows, colors)
    _density(axes[0, 1], {name: _heavy(shape.lengths_angstrom) for name, shape in shapes.items()}, colors, 1.1, 1.7)
    axes[0, 1].set(xlabel="length, angstrom", ylabel="density", title="Bonds between heavy atoms")
    _density(axes[0, 2], {name: _joined(shape.angles_degree) for name, shape in shapes.items()}, colors, 50, 180)
    axes[0, 2].set(xlabel="angle, degrees", ylabel="density", title="Bond angles")
    _counts(axes[1, 0], {name: shape.rings for name, shape in shapes.items()}, colors)
    axes[1, 0].set(xlabel="atoms of the ring", ylabel="share of the rings", title="Rings")
    _counts(axes[1, 1], {name: shape.sizes for name, shape in shapes.items()}, colors)
    axes[1, 1].set(xlabel="atoms, hydrogens included", ylabel="share of the molecules", title="Sizes")
    _gaps(axes[1, 2], report.scores) if report.scores is not None else _elements(axes[1, 2], shapes, colors)
    axes[0, 1].legend(frameon=False)
    figure.suptitle(title)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _shares(axes: Axes, rows: Mapping[str, Row], colors: Mapping[str, str]) -> None:
    place = np.arange(len(MEASURES))
    height = 0.8 / len(rows)
    for number, (name, row) in enumerate(rows.items()):
        values = [100 * measure(row) for measure in MEASURES.values()]
        axes.barh(place + (number - (len(rows) - 1) / 2) * height, values, height, color=colors[name], label=name)
    axes.set_yticks(place, list(MEASURES))
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="% of all attempts", title="Shares")


def _density(axes: Axes, values: Mapping[str, np.ndarray], colors: Mapping[str, str], low: float, high: float) -> None:
    for name, each in values.items():
        inside = each[(each >= low) & (each <= high)]
        if len(inside):
            axes.hist(inside, bins=80, range=(low, high), density=True, histtype="step", color=colors[name], label=name)
    axes.set_xlim(low, high)


def _counts(axes: Axes, counts: Mapping[str, Mapping[int, int]], colors: Mapping[str, str]) -> None:
    for name, each in counts.items():
        total, places = sum(each.values()), sorted(each)
        axes.plot(places, [each[place] / total for place in places], marker="o", ms=4, color=colors[name], label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)


def _elements(axes: Axes, shapes: Mapping[str, Distributions], colors: Mapping[str, str]) -> None:
    symbols = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
    width = 0.8 / max(1, len(shapes))
    for number, (name, shape) in enumerate(shapes.items()):
        total = sum(shape.elements.values())
        shares = [shape.elements.get(z, 0) / total for z in symbols]
        axes.bar(np.arange(len(symbols)) + number * width, shares, width, color=colors[name], label=name)
    axes.set_xticks(np.arange(len(symbols)), list(symbols.values()))
    axes.set(ylabel="share of the atoms", title="Elements")


def _gaps(axes: Axes, scores: Scores) -> None:
    ends = np.concatenate([scores.wanted_ev, scores.gap_ev, [4, 9]])
    limits = (float(ends.min()) - 0.3, float(ends.max()) + 0.3)
    axes.plot(limits, limits, color=REAL, lw=0.8)
    axes.scatter(scores.wanted_ev, scores.gap_ev, s=6, alpha=0.5, color=COLORS[0], lw=0)
    axes.set(xlabel="wanted gap, eV", ylabel="gap by the evaluator, eV", title="Gaps", xlim=limits, ylim=limits)


def _heavy(lengths: Mapping[str, np.ndarray]) -> np.ndarray:
    return _joined({kind: values for kind, values in lengths.items() if "H" not in kind})


def _joined(values: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([*values.values(), np.zeros(0, dtype=np.float32)])
