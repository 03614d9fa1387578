"""Parity and calibration of every head in one picture."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from gapsmith.surrogate.evaluate import Evaluation, HeadResult

MOST_POINTS = 4000


def draw(evaluation: Evaluation, file: Path) -> None:
    """One row a set, one column a head: predicted against true, with the coverage of error bars as an inset."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(name, found) for name, found in evaluation.sets.items() if found.heads]
    columns = max(len(found.heads) for _, found in rows)
    figure, axes = plt.subplots(len(rows), columns, figsize=(3.4 * columns, 3.4 * len(rows)), squeeze=False)
    for row, (name, found) in zip(axes, rows, strict=True):
        for axis in row[len(found.heads) :]:
            axis.axis("off")
        for axis, (head, result) in zip(row, found.heads.items(), strict=False):
            _parity(axis, result)
            axis.set_title(f"{head.replace('_', ' ')} at {name.replace('_', ' ')}", fontsize=9)
    figure.suptitle(f"QM9, split {evaluation.split}; inset: share of errors inside the interval against its level")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _parity(axis: "mpl.axes.Axes", result: HeadResult) -> None:
    from scipy.special import ndtr

    step = max(1, len(result.target) // MOST_POINTS)
    target, error = result.target[::step], result.error[::step]
    axis.scatter(target, target + error, s=2, alpha=0.3, linewidths=0, color="#2a6f97", rasterized=True)
    ends = [float(target.min()), float(target.max())]
    axis.plot(ends, ends, color="black", linewidth=0.7)
    axis.set_xlabel(f"true, {result.symbol}", fontsize=8)
    axis.set_ylabel(f"predicted, {result.symbol}", fontsize=8)
    axis.tick_params(labelsize=7)
    inset = axis.inset_axes((0.62, 0.08, 0.34, 0.34))
    levels = np.linspace(0, 1, 51)
    inside = np.sort(2 * ndtr(np.abs(result.error / result.sigma)) - 1)
    inset.plot(levels, np.searchsorted(inside, levels, side="right") / len(inside), color="#d00000", linewidth=1)
    inset.plot([0, 1], [0, 1], color="black", linewidth=0.5)
    inset.set_xticks([])
    inset.set_yticks([])
