from typing import Any

import numpy as np
import pytest
from benchmarks.scaling.fit import ALONE, KINDS, Measured, line
from benchmarks.scaling.gpus import BAD, GOOD, GPUS, MIDDLE, STRONG_BATCH, Counted, molecules_per_s, predicted
from benchmarks.scaling.model import Link, Work, compute_s, ring_s, step_s

BATCH, BYTES = 48, 1_500_000
LINK = Link(1e-4, 1e9)
WORK = Work(0.03, 0.003, 0.02, variation=0.0)
EXCHANGED = {**{4**power: ring_s(2, 4**power, LINK) for power in range(6, 13)}, None: ring_s(2, BYTES, LINK)}
COUNTED = Counted(
    parameters=375_000,
    gradient_bytes=BYTES,
    batch=48,
    flops_per_molecule=4e7,
    operations=1000,
    update_flops=7e8,
    update_operations=200,
    variation=0.33,
)


def turn(ranks: int, batch: float, exchange_s: float = 0.0, slowdown: float = 1.0) -> np.ndarray:
    """Five equal steps of a machine that is as the model says."""
    steps = np.zeros((ranks, 5, 4))
    steps[:] = 0.001, slowdown * compute_s(WORK, 1, batch) - 0.001, exchange_s, slowdown * WORK.update_s
    return steps


@pytest.fixture
def measured() -> Measured:
    exchange_s = ring_s(2, BYTES, LINK)
    turns: dict[Any, list[np.ndarray]] = {
        ("alone", factor * BATCH // 2, True): [turn(1, factor * BATCH / 2)] * 3 for factor in ALONE
    }
    for name in ("horovod", "torch"):
        for kind in KINDS.values():
            whole = kind.together * BATCH
            turns[name, whole, True] = [turn(2, whole / 2, exchange_s)] * 3
    turns["torch", BATCH, False] = [turn(2, BATCH, slowdown=1.1)] * 3
    return Measured(BATCH, turns, np.array([18, 18, 18]))


def test_one_process_gives_back_the_work(measured: Measured) -> None:
    assert measured.work == Work(pytest.approx(0.03), pytest.approx(0.003), pytest.approx(0.02), variation=0.0)  # type: ignore[arg-type]
    assert measured.slowdown == pytest.approx(1.1)
    assert measured.of_one()["one_process"]["48"]["samples_per_s"]["median"] == pytest.approx(48 / 0.194, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_model_gives_the_ratio_of_a_machine_that_obeys_it(measured: Measured, kind: str) -> None:
    found = measured.of_two("horovod", kind, EXCHANGED, BYTES)
    assert found["predicted_ratio"] == pytest.approx(found["ratio"]["median"], abs=0.002)
    assert found["predicted_ratio_with_slowdown"] < found["predicted_ratio"]
    parts = dict(found["where_a_step_goes_ms"])
    measured_ms, total = parts.pop("measured"), parts.pop("predicted")
    assert sum(parts.values()) == pytest.approx(total, abs=0.01)
    assert measured_ms + parts["slowdown_of_two_at_once"] == pytest.approx(total, abs=0.1)


def test_ratios_of_known_times(measured: Measured) -> None:
    exchange_s = ring_s(2, BYTES, LINK)
    weak = measured.of_two("torch", "weak", EXCHANGED, BYTES)
    assert weak["ratio"]["median"] == pytest.approx(2 * 0.194 / (0.194 + exchange_s), abs=1e-3)
    assert weak["reaches_goal"]
    strong = measured.of_two("torch", "strong", EXCHANGED, BYTES)
    assert strong["ratio"]["median"] == pytest.approx(0.194 / (0.122 + exchange_s), abs=1e-3)
    assert not strong["reaches_goal"]


def test_least_batch_is_where_strong_scaling_reaches_the_goal(measured: Measured) -> None:
    least, exchange_s = measured.least_batch(EXCHANGED, BYTES), ring_s(2, BYTES, LINK)
    assert least is not None

    def ratio(batch: int) -> float:
        return step_s(WORK, 1, batch, 0.0) / step_s(WORK, 2, batch / 2, exchange_s)

    assert ratio(least) >= 1.8 > ratio(least - 2)


def test_line_of_an_all_reduce() -> None:
    found = line({**EXCHANGED, None: 0.004}, BYTES)
    assert found["latency_us"] == pytest.approx(100, abs=0.1)
    assert found["gb_per_s"] == pytest.approx(1.0, abs=1e-3)
    assert found["of_as_many_bytes_as_the_network_ms"] == pytest.approx(1.7, abs=0.01)
    assert found["packing_the_network_ms"] == pytest.approx(2.3, abs=0.01)


def test_gpus_neither_beat_the_ideal_nor_leave_the_band() -> None:
    for found in predicted(COUNTED).values():
        assert found["speedup"][0] == 1
        for gpus, low, middle, high in zip(
            GPUS, found["speedup_lowest"], found["speedup"], found["speedup_highest"], strict=True
        ):
            assert low <= middle <= high <= gpus
        assert all(
            with_it >= without
            for with_it, without in zip(found["speedup_if_overlapped"], found["speedup"], strict=True)
        )


def test_better_assumptions_give_more_molecules() -> None:
    for gpus in GPUS:
        rates = [molecules_per_s(COUNTED, gpus, STRONG_BATCH / gpus, level) for level in (BAD, MIDDLE, GOOD)]
        assert rates == sorted(rates)


def test_one_gpu_needs_no_network() -> None:
    took = 1000 * 8e-6 + 200 * 8e-6  # started by the host, which is slower than the arithmetic of so few molecules
    assert molecules_per_s(COUNTED, 1, 48, MIDDLE) == pytest.approx(48 / took)
