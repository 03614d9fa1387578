"""The generator's quality against its speed: what fewer or more steps of sampling give, with a picture."""

import time
from pathlib import Path
from typing import Any

import matplotlib

from gapsmith.generator.evaluation.quality import evaluate
from gapsmith.generator.generator import Generator
from gapsmith.generator.sampling import SamplingOptions

STEPS = (4, 8, 16, 32, 64)
MOLECULES = 256
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "sampling-steps.png"


def measure() -> dict[str, Any]:
    """Unconditional samples on the threads torch takes; shares of all attempts."""
    generator = Generator.load()
    generator.sample(8, None, 0, options=SamplingOptions(steps=2))  # warm
    rows = {}
    for steps in STEPS:
        started = time.perf_counter()
        sampled = generator.sample(MOLECULES, None, 1, options=SamplingOptions(steps=steps))
        took = time.perf_counter() - started
        quality = evaluate(sampled.molecules, sampled.attempts, sampled.refused)
        rows[str(steps)] = {
            "valid_and_unique": quality.valid_and_unique,
            "molecule_stability": quality.molecule_stability,
            "valid_and_unique_per_s": round(quality.valid_and_unique * MOLECULES / took, 2),
        }
    _draw(rows)
    return {"attempts_per_row": MOLECULES, "by_steps": rows}


def _draw(rows: dict[str, dict[str, float]]) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    speed = [row["valid_and_unique_per_s"] for row in rows.values()]
    for name, label in (("valid_and_unique", "valid and unique"), ("molecule_stability", "stable by EDM's table")):
        axes.plot(speed, [100 * row[name] for row in rows.values()], marker="o", label=label)
    for steps, x, row in zip(rows, speed, rows.values(), strict=True):
        where = x, 100 * row["valid_and_unique"]
        axes.annotate(f"{steps} steps", where, xytext=(0, 8), textcoords="offset points", ha="center")
    axes.set(xscale="log", xlabel="valid unique molecules per second", ylabel="% of all attempts", ylim=(0, 119))
    axes.set(xlim=(0.7 * min(speed), 1.4 * max(speed)))
    axes.legend(loc="lower left")
    figure.savefig(PICTURE, dpi=150)
    pyplot.close(figure)
