"""Chunks of training data, prepared in several processes."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

from gapsmith.core.terminal import echo, track
from gapsmith.surrogate import displaced, relaxed


def prepare(task: Callable[[int], object], split: str, molecules: int, workers: int | None) -> None:
    """Prepare the chunks of a split's first molecules in several processes; a bar shows how far it is."""
    number = workers or len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    there = len(relaxed.qm9(split))
    if molecules > there:
        echo(f"warning: the split {split} has {there} molecules, not {molecules}", fg="yellow", err=True)
    firsts = range(0, min(molecules, there), relaxed.CHUNK)
    context = multiprocessing.get_context("spawn")
    label = f"chunks of {relaxed.CHUNK} molecules"
    with ProcessPoolExecutor(number, mp_context=context) as pool:
        pending = [pool.submit(task, first) for first in firsts]
        try:
            for future in track(as_completed(pending), label, len(pending)):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def relaxed_and_displaced(split: str, first: int) -> None:
    """One worker's task: a chunk of relaxed geometries, and what is computed from them."""
    relaxed.prepare_chunk(split, first)
    displaced.prepare_chunk(split, first)
