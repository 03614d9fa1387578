"""The picture of scaling: what was measured, and what the model predicts."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.scaling.fit import GOAL, KINDS
from benchmarks.scaling.gpus import STRONG_BATCH
from benchmarks.scaling.model import Link, ring_s

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "scaling.png"
COLORS = {"horovod": "#0b6e4f", "torch": "#b23a48"}
GREY, WANTED = "#7f8c9a", "#c77d00"
NETWORKS = {"default": ("shipped", "#0b6e4f"), "gpu": ("configs/gpu.yaml", "#2a6f97")}
BACKENDS = {"horovod": "Horovod", "torch": "torch.distributed"}


def draw(numbers: dict[str, Any], file: Path = PICTURE) -> None:
    """Two rows: this machine, and GPUs."""
    figure = Figure(figsize=(11, 8.6), layout="constrained")
    axes = figure.subplots(2, 2)
    _measured(axes[0, 0], numbers)
    _all_reduce(axes[0, 1], numbers)
    _predicted(axes[1, 0], numbers, "weak")
    axes[1, 0].set_title("Predicted, no GPU measured: the same share for each GPU")
    _predicted(axes[1, 1], numbers, "strong")
    axes[1, 1].set_title(f"Predicted, no GPU measured: {STRONG_BATCH:,} molecules for all")
    figure.supxlabel(_footer(numbers), fontsize=8, x=0.01, ha="left", color="#333333")
    for panel in axes.flat:
        panel.title.set_size(11)
    figure.savefig(file, dpi=130)


def _measured(axes: Axes, numbers: dict[str, Any]) -> None:
    places: list[float] = []
    labels = []
    for number, kind in enumerate(KINDS):
        for index, (name, found) in enumerate(numbers["two_processes"].items()):
            place, result = 2.5 * number + index, found[kind]
            ratio = result["ratio"]
            axes.bar(place, ratio["median"], 0.85, color=COLORS[name], label=None if number else BACKENDS[name])
            axes.vlines(place, ratio["lowest"], ratio["highest"], color="black", lw=1)
            axes.annotate(f"{ratio['median']:.2f}", (place, 0.08), ha="center", color="white", fontsize=9)
            for key, label, face in (
                ("predicted_ratio", "predicted from one process and the all-reduce", "white"),
                ("predicted_ratio_with_slowdown", "the same, with two at once slowing each other", "black"),
            ):
                shown = None if places else label
                axes.plot(place + 0.22, result[key], "D", mfc=face, mec="black", ms=5, label=shown)
            places.append(place)
        labels.append(f"{result['molecules_of_a_step']} for two,\n{result['compared_with']} for one")
    axes.axhline(2.0, color=GREY, lw=0.9, zorder=0)
    axes.axhline(GOAL, color=WANTED, lw=1.2, ls="--", label=f"goal, {GOAL}")
    width = len(numbers["two_processes"]) - 1
    highest = max(found[kind]["ratio"]["highest"] for found in numbers["two_processes"].values() for kind in found)
    axes.set_xticks([2.5 * number + width / 2 for number in range(len(KINDS))], labels, fontsize=7)
    axes.set(
        xlim=(-0.65, 2.5 * len(KINDS) - 1.85 + width),
        ylim=(0, max(3.2, 1.5 * highest)),
        ylabel="samples/s of two processes, times one's",
    )
    axes.set_title("Measured: molecules of a step, one thread in each process")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _all_reduce(axes: Axes, numbers: dict[str, Any]) -> None:
    for name, found in numbers["all_reduce"].items():
        sizes = np.array([float(size) for size in found["by_bytes_ms"]])
        link = Link(found["latency_us"] * 1e-6, found["gb_per_s"] * 1e9)
        places = np.geomspace(sizes[0], sizes[-1], 200)
        axes.plot(sizes / 1024, list(found["by_bytes_ms"].values()), "o", ms=5, color=COLORS[name])
        axes.plot(
            places / 1024,
            [1000 * ring_s(2, place, link) for place in places],
            color=COLORS[name],
            label=f"{BACKENDS[name]}: 2 ({found['latency_us']:.0f} µs + bytes / 2 / {found['gb_per_s']:.2f} GB/s)",
        )
    size = numbers["prediction"]["default"]["counted"]["gradient_bytes"] / 1024
    axes.axvline(size, color=GREY, lw=0.8, ls="--")
    axes.annotate(
        "gradients of the\ndefault network ",
        (size, 0.03),
        xycoords=("data", "axes fraction"),
        fontsize=8,
        color=GREY,
        ha="right",
    )
    axes.set(xscale="log", yscale="log", xlabel="message, KiB", ylabel="ms")
    axes.set_title("Measured: all-reduce between two processes")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _predicted(axes: Axes, numbers: dict[str, Any], kind: str) -> None:
    """Molecules a second of so many GPUs; the ends are told in words, as how much of so many times one GPU."""
    for name, found in numbers["prediction"].items():
        label, color = NETWORKS[name]
        result, counted = found[kind], found["counted"]
        gpus = np.array(result["gpus"])
        one = result["molecules_per_s"][0]
        low, high = result["molecules_per_s_lowest"], result["molecules_per_s_highest"]
        axes.fill_between(gpus, low, high, color=color, alpha=0.18, lw=0)
        axes.plot(gpus, one * gpus, color=GREY, lw=0.8)
        size = f", {counted['parameters'] / 1e6:.2f} M parameters"
        levels = ("speedup", "speedup_lowest", "speedup_highest")
        if kind == "weak":
            share = [100 * result[level][-1] / gpus[-1] for level in levels]
            size += f", {counted['batch']} molecules for each:"
            told = "{:.0f} % ({:.0f} to {:.0f}) of {:,} times one GPU".format(*share, gpus[-1])
        else:
            best = [max(result[level]) for level in levels]
            told = "at most {:.0f} times one GPU ({:.0f} to {:.0f})".format(*best)
        axes.plot(gpus, result["molecules_per_s"], "o-", ms=4, color=color, label=f"{label}{size}\n{told}")
    axes.plot([], [], color=GREY, lw=0.8, label="so many times one GPU")
    axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="molecules/s", xlim=(0.8, 1300), ylim=(1e3, 3e8))
    ticks = numbers["prediction"]["default"][kind]["gpus"]
    axes.set_xticks(ticks, [str(number) for number in ticks])
    axes.minorticks_off()
    axes.axvspan(0.8, 8, color=GREY, alpha=0.08, lw=0)
    axes.annotate("one node", (2.5, 1.3e3), fontsize=8, color=GREY, ha="center")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _footer(numbers: dict[str, Any]) -> str:
    given = numbers["assumptions"]

    def three(key: str) -> str:
        bad, middle, good = given[key]
        return f"{middle:g} ({bad:g} to {good:g})"

    others = numbers["cores_that_other_work_took"]["median"]
    sentences = (
        f"Top: medians and extremes of rounds that took turns; other work took {others:g} of the cores meanwhile.",
        "Bottom: time of a step = loss and gradients of the slowest rank + all-reduce + optimizer, one after another",
        "on DGX H100 systems. Lines, and bands over all combinations, assume:",
        f"arithmetic at {three('peak_share')} of 67 TFLOP/s, {three('operation_us')} µs of the host for each operation,",
        f"jitter of {three('jitter')} of a step,",
        f"NVLink with {three('node_latency_us')} µs and {three('node_gb_per_s')} GB/s, InfiniBand with",
        f"{three('network_latency_us')} µs and {three('network_gb_per_s')} GB/s for each GPU;",
        "reduce-scatter and all-gather in a node, the faster of ring and double binary tree between nodes.",
        f"Left out: {given['left_out']}.",
    )
    return textwrap.fill(" ".join(sentences), 190)
