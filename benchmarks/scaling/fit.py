"""The model fitted to one process and to the all-reduce, beside what two processes did."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.scaling.group import Launcher
from benchmarks.scaling.model import Link, Work, compute_s, fit_line, link_of_two, ring_s, step_s

PHASES: Final = ("batch", "gradients", "exchange", "update")
GOAL: Final = 1.8  # times the samples a second of one process
Key = tuple[Launcher, int, bool]  # molecules of a batch; whether all ranks share it
Turns = dict[Key, list[np.ndarray]]  # of every turn (ranks, steps, PHASES) seconds


class Kind(NamedTuple):
    """Two processes compared with one, in batches of the configuration's size."""

    together: int  # of both processes in a step
    alone: int  # of one process in a step


KINDS: Final = {"strong": Kind(1, 1), "strong_large": Kind(4, 4), "weak": Kind(2, 1), "weak_large": Kind(4, 2)}
ALONE: Final = (1, 2, 4, 8)  # half batches of one process


@dataclass(frozen=True)
class Measured:
    """All turns at training."""

    batch: int  # molecules of a step, of the configuration
    turns: Turns
    sizes: np.ndarray  # (molecules,) atoms

    def alone(self, batch: int) -> list[np.ndarray]:
        """One process."""
        return self.turns["alone", batch, True]

    @property
    def batches(self) -> list[int]:
        """Of one process."""
        return [factor * self.batch // 2 for factor in ALONE]

    @cached_property
    def work(self) -> Work:
        """Fitted to one process at several sizes of batch."""
        batches = self.batches
        computed = [statistics.median(float(turn[..., :2].sum(-1).mean()) for turn in self.alone(x)) for x in batches]
        update_s = statistics.median(float(turn[..., 3].mean()) for x in batches for turn in self.alone(x))
        fixed_s, per_molecule_s = fit_line(batches, computed)
        pairs = self.sizes.astype(np.float64) * (self.sizes - 1)
        return Work(fixed_s, per_molecule_s, update_s, variation=float(pairs.std() / pairs.mean()))

    @cached_property
    def slowdown(self) -> float:
        """How many times as long a step takes while another process computes, too, and nothing is exchanged."""
        beside = self.turns["torch", self.batch, False]
        pairs = zip(step_times(self.alone(self.batch)), step_times(beside), strict=True)
        return statistics.median(two / one for one, two in pairs)

    def of_one(self) -> dict[str, Any]:
        """Speeds of one process, of two that exchange nothing, and the fit."""
        work = self.work
        return {
            "one_process": {str(size): speed(self.alone(size), size) for size in self.batches},
            "two_without_exchange": {
                **speed(self.turns["torch", self.batch, False], 2 * self.batch),
                "slowdown": round(self.slowdown, 3),
            },
            "model": {
                "fixed_ms": ms(work.fixed_s),
                "per_molecule_ms": ms(work.per_molecule_s),
                "update_ms": ms(work.update_s),
                "variation": round(work.variation, 3),
            },
        }

    def of_two(
        self, name: Launcher, kind: str, exchanged: Mapping[int | None, float], gradient_bytes: int
    ) -> dict[str, Any]:
        """Two processes beside one, and beside the model, which has not seen them."""
        whole, single = (factor * self.batch for factor in KINDS[kind])
        phases = self.turns[name, whole, True]
        both = zip(step_times(self.alone(single)), step_times(phases), strict=True)
        ratios = [whole / single * one / two for one, two in both]
        work, share = self.work, whole / 2
        exchange_s = all_reduce_s(exchanged, gradient_bytes)
        one_s, two_s = step_s(work, 1, single, 0.0), step_s(work, 2, share, exchange_s)
        beside_s = self.slowdown * (two_s - exchange_s) + exchange_s
        ideal_s, even_s = one_s * share / single, step_s(work, 1, share, 0.0)
        return {
            "molecules_of_a_step": whole,
            "compared_with": single,
            **speed(phases, whole),
            "ratio": spread(ratios, 3),
            "reaches_goal": statistics.median(ratios) >= GOAL,
            "predicted_ratio": round(whole / single * one_s / two_s, 3),
            "predicted_ratio_with_slowdown": round(whole / single * one_s / beside_s, 3),
            "where_a_step_goes_ms": {
                "ideal": ms(ideal_s),
                "repeated_by_every_process": ms(even_s - ideal_s),
                "waiting_for_larger_molecules": ms(compute_s(work, 2, share) - compute_s(work, 1, share)),
                "all_reduce": ms(exchange_s),
                "slowdown_of_two_at_once": ms(beside_s - two_s),
                "predicted": ms(beside_s),
                "measured": ms(statistics.median(step_times(phases))),
            },
        }

    def least_batch(self, exchanged: Mapping[int | None, float], gradient_bytes: int) -> int | None:
        """Molecules of a step of both processes from which on the model reaches the goal in strong scaling, if ever."""
        exchange_s = all_reduce_s(exchanged, gradient_bytes)
        for batch in range(2, 4096, 2):
            one_s, two_s = step_s(self.work, 1, batch, 0.0), step_s(self.work, 2, batch / 2, exchange_s)
            if one_s >= GOAL * two_s:
                return batch
        return None


def link_of(exchanged: Mapping[int | None, float]) -> Link:
    """The link between two processes, from seconds by bytes of one tensor; None stands for the network's gradients."""
    sizes = [size for size in exchanged if size is not None]
    return link_of_two(sizes, [exchanged[size] for size in sizes])


def all_reduce_s(exchanged: Mapping[int | None, float], gradient_bytes: int) -> float:
    """Of the network's gradients: the ring's time, and what it costs to pack so many tensors, never negative."""
    return max(exchanged[None], ring_s(2, gradient_bytes, link_of(exchanged)))


def line(exchanged: Mapping[int | None, float], gradient_bytes: int) -> dict[str, Any]:
    """The all-reduce of two processes: measured, and by the fitted link."""
    link = link_of(exchanged)
    return {
        "by_bytes_ms": {str(size): ms(seconds) for size, seconds in exchanged.items() if size is not None},
        "latency_us": round(link.latency_s * 1e6, 1),
        "gb_per_s": round(link.bytes_per_s / 1e9, 3),
        "of_as_many_bytes_as_the_network_ms": ms(ring_s(2, gradient_bytes, link)),
        "packing_the_network_ms": ms(all_reduce_s(exchanged, gradient_bytes) - ring_s(2, gradient_bytes, link)),
    }


def step_times(phases: Sequence[np.ndarray]) -> list[float]:
    """Mean seconds of a step, of every turn."""
    return [float(turn.sum(-1).mean()) for turn in phases]


def speed(phases: Sequence[np.ndarray], molecules: int) -> dict[str, Any]:
    """Samples a second of all ranks together over the turns, and where the time of a step went."""
    return {
        "samples_per_s": spread([molecules / step for step in step_times(phases)], 1),
        "step_ms": {
            name: ms(statistics.median(float(turn[..., index].mean()) for turn in phases))
            for index, name in enumerate(PHASES)
        },
    }


def spread(values: Sequence[float], digits: int) -> dict[str, float]:
    """Median and extremes."""
    found = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def ms(seconds: float) -> float:
    """Milliseconds, for the record."""
    return round(1000 * seconds, 3)
