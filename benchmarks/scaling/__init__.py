"""Data-parallel training in one and two processes of one thread each, and what a model of it says of 8 to 1,024 GPUs.

``rank`` is a process that trains, ``group`` those who do it together, ``model`` the formulas, ``fit`` what is fitted to
the measurements and checked against them, ``gpus`` the prediction with its assumptions.
"""

from typing import Any


def measure() -> dict[str, Any]:
    """Speeds, the all-reduce, the model and its predictions; draws the picture."""
    from benchmarks.scaling.measuring import measure as run  # not for those who want the formulas alone

    return run()
