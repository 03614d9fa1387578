"""The measurement: groups take turns at training, then at averaging gradients alone."""

import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling import gpus, picture
from benchmarks.scaling.fit import ALONE, KINDS, Key, Measured, Turns, line
from benchmarks.scaling.group import Exchange, Group, Launcher, Training
from benchmarks.scaling.rank import sample
from gapsmith.surrogate.config import DEFAULT, load
from gapsmith.trainer.processes import horovod_problem

ROUNDS = 4
MOLECULES, LEAST_STEPS = 576, 4  # of a turn at training, of which no batch makes fewer steps
SIZES_BYTES = tuple(4**power for power in range(6, 13))  # 4 KiB to 16 MiB
CALLS, EXCHANGE_ROUNDS = 20, 2
QUIET_CORES = 0.1  # more than that of other work, and the ratios say more about it than about the training


def measure() -> dict[str, Any]:
    """See the package."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no stopped process is left behind
    problem = horovod_problem()
    pairs: list[Launcher] = ["torch"] if problem else ["horovod", "torch"]
    batch = load(DEFAULT).training.batch_size
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder, ExitStack() as stack:
        groups = {name: stack.enter_context(Group(name, 2, Path(folder))) for name in pairs}
        groups["alone"] = stack.enter_context(Group("alone", 1, Path(folder)))
        for group in groups.values():
            group.ready()
        turns, others = trained(groups, batch)
        exchanges = {name: exchanged(groups[name]) for name in pairs}
    molecules = sample()
    prediction = gpus.prediction(molecules)
    gradient_bytes = prediction["default"]["counted"]["gradient_bytes"]
    measured = Measured(batch, turns, molecules.sizes)
    numbers = {
        "threads_per_process": 1,
        "batch": batch,
        "quiet_machine": statistics.median(others) < QUIET_CORES,
        "cores_that_other_work_took": {"median": round(statistics.median(others), 2), "most": round(max(others), 2)},
        **measured.of_one(),
        "two_processes": {
            name: {kind: measured.of_two(name, kind, exchanges[name], gradient_bytes) for kind in KINDS}
            for name in pairs
        },
        "strong_scaling_reaches_goal_from_batch": {
            name: measured.least_batch(exchanges[name], gradient_bytes) for name in pairs
        },
        "all_reduce": {name: line(times, gradient_bytes) for name, times in exchanges.items()},
        "assumptions": gpus.assumptions(),
        "prediction": prediction,
        **({"without_horovod": problem} if problem else {}),
    }
    picture.draw(numbers)
    return numbers


def trained(groups: dict[Launcher, Group], batch: int) -> tuple[Turns, list[float]]:
    """The phases of every turn at training, and the cores that other work took in each."""
    plan: list[Key] = [("alone", factor * batch // 2, True) for factor in ALONE]
    plan += [(name, kind.together * batch, True) for name in groups if name != "alone" for kind in KINDS.values()]
    plan.append(("torch", batch, False))
    plan = list(dict.fromkeys(plan))  # one training of two processes is compared with several of one
    for group in groups.values():
        group.turn(Training(batch, 1))  # what is done once
    found: Turns = defaultdict(list)
    others = []
    for number in range(ROUNDS):
        for name, size, together in plan[number % len(plan) :] + plan[: number % len(plan)]:
            answers, taken = groups[name].turn(Training(size, max(LEAST_STEPS, MOLECULES // size), together))
            found[name, size, together].append(np.stack([answer["phases"] for answer in answers]))
            others.append(taken)
    return found, others


def exchanged(group: Group) -> dict[int | None, float]:
    """Median seconds of an all-reduce by bytes of one tensor, and of the network's gradients (None)."""
    times: dict[int | None, list[float]] = defaultdict(list)
    for _ in range(EXCHANGE_ROUNDS):
        for size in (*SIZES_BYTES, None):
            answers, _ = group.turn(Exchange(size, CALLS))
            times[size].extend(np.mean([answer["seconds"] for answer in answers], axis=0))
    return {size: statistics.median(values) for size, values in times.items()}
