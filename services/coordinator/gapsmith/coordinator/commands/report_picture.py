"""The picture of a campaign: hits against DFT jobs, predicted against DFT values, and their distribution."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gapsmith.core.lifecycle import Outcome
from gapsmith.store.distributions import bin_width

if TYPE_CHECKING:
    from gapsmith.core.wanted import Window
    from gapsmith.store.results import Results

HIT, OTHER, WANTED, CHANCE = "#0b6e4f", "#7f8c9a", "#f2c14e", "#b23a48"

MOST_BINS = 60


def draw(results: "Results", path: Path) -> None:
    """Draw a campaign's results; raises OSError if the file cannot be written."""
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    window = results.campaign.config.target.window
    _hits(left, results)
    _predictions(middle, results, window)
    _distribution(right, results, window)
    figure.suptitle(f"{results.campaign.name}: {results.campaign.config.target}")
    figure.savefig(path, dpi=130)


def _hits(axes: Axes, results: "Results") -> None:
    hits = [a.outcome is not None and a.outcome.hit for a in results.attempts]
    certified = [a.outcome is Outcome.HIT_BY_CERTIFICATE for a in results.attempts]
    jobs = np.arange(len(hits) + 1)
    axes.step(jobs, np.cumsum([0, *hits]), where="post", color=HIT, label="hits (by label or certificate)")
    if results.campaign.config.dft.certify:
        axes.step(jobs, np.cumsum([0, *certified]), where="post", color=HIT, ls=":", label="of them certified")
    axes.plot(jobs, results.base_rate * jobs, color=CHANCE, ls="--", label="drawing blindly from QM9")
    axes.set(xlabel="DFT jobs, failures included", ylabel="hits", title="Hits", xlim=(0, max(len(hits), 1)))
    axes.set_ylim(bottom=0, top=max(1.0, 1.3 * axes.get_ylim()[1]))  # room for the legend
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="upper left")


def _predictions(axes: Axes, results: "Results", window: "Window") -> None:
    found = [
        (a.predicted, a.predicted_std, a.label_value, a.outcome is not None and a.outcome.hit) for a in results.attempts
    ]
    known = np.array([row for row in found if None not in row], dtype=np.float64).reshape(-1, 4)
    predicted, deviation, label, hit = known.T
    inside = hit > 0
    ends = [*predicted, *label, *(end for end in (window.low, window.high) if math.isfinite(end))]
    limits = (min(ends) - 0.3, max(ends) + 0.3)
    low, high = max(window.low, limits[0]), min(window.high, limits[1])
    axes.axhspan(low, high, color=WANTED, alpha=0.5, lw=0)
    axes.plot(limits, limits, color=OTHER, lw=0.8)
    for chosen, color, name in ((inside, HIT, "hits"), (~inside, OTHER, "others")):
        axes.errorbar(
            predicted[chosen], label[chosen], xerr=deviation[chosen], fmt="o", ms=4, lw=0.8, color=color, label=name
        )
    axes.set(
        xlabel=f"predicted {_named(results)}",
        ylabel=f"DFT {_named(results)}",
        title="Prediction and label",
        xlim=limits,
        ylim=limits,
    )
    axes.legend(frameon=False, loc="upper left")


def _distribution(axes: Axes, results: "Results", window: "Window") -> None:
    values = [a.label_value for a in results.attempts if a.label_value is not None]
    if values:
        axes.hist(values, bins=_bins(values, window), color=OTHER, rwidth=0.92)
    left, right = axes.get_xlim() if values else (window.middle - window.scale, window.middle + window.scale)
    low = window.low if math.isfinite(window.low) else min(left, window.middle)
    high = window.high if math.isfinite(window.high) else max(right, window.middle)
    axes.axvspan(low, high, color=WANTED, alpha=0.5, lw=0, label="wanted")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f"DFT {_named(results)}", ylabel="molecules", title="Computed molecules")
    axes.legend(frameon=False)


def _named(results: "Results") -> str:
    main = results.campaign.config.target.main
    return f"{main.noun}, {main.unit}".rstrip(", ")


def _bins(values: list[float], window: "Window") -> list[float]:
    """Edges of bins as wide as the window, or a multiple if there were too many; an end of the window is an edge."""
    width, start = bin_width(window), window.low if math.isfinite(window.low) else window.high
    width *= max(1, math.ceil((max(values) - min(values)) / (MOST_BINS * width)))
    first = math.floor((min(values) - start) / width)
    last = math.floor((max(values) - start) / width) + 1
    return [start + width * step for step in range(first, last + 1)]
