"""A training in a few lines: its curve, its energy, its time."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.store.training_runs import Run
from gapsmith.trainer.commands.models_training import BLOCKS, WIDTH, energy, sparkline, training_lines
from gapsmith.training.energy import Energy
from gapsmith.training.metrics import Point


def test_a_curve_goes_from_the_smallest_to_the_largest() -> None:
    assert sparkline([]) == ""
    assert sparkline([3.0]) == "▁"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BLOCKS
    assert sparkline([8.0, 1.0, 4.5]) == "█▁▅"
    assert sparkline([0.0, 2.0, 7.0, 9.0], width=2) == "▁█"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_a_curve_is_never_wider_than_it_may_be(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) == min(WIDTH, len(values))
    assert set(line) <= set(BLOCKS)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Energy(1.234, "RAPL + NVML", True), "1.23 kWh (RAPL + NVML)"),
        (Energy(0.0421, "RAPL", True), "42.1 Wh (RAPL)"),
        (Energy(2.5e-6, "10 W per busy core", False), "2.5 mWh (estimated: 10 W per busy core)"),
        (Energy(0.0, "RAPL", True), "0 mWh (RAPL)"),
    ],
)
def test_energy_says_whether_it_was_measured(amount: Energy, expected: str) -> None:
    assert energy(amount) == expected


def test_a_run_in_lines() -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    run = Run(
        id=UUID(int=1),
        role="surrogate",
        campaign_id=None,
        model_id=UUID(int=2),
        state="finished",
        reason=None,
        started_at=then,
        updated_at=then,
        finished_at=then,
        host="nurse",
        processes=2,
        backend="horovod",
        device="cpu",
        directory=None,
        planned_steps=15,
        steps=15,
        elapsed_s=187.4,
        energy_kwh=0.0021,
        energy_method="10 W per busy core",
        energy_measured=False,
        config={},
    )
    points = [Point(5, 60.0, {"gap": 0.5, "loss": 2.0}), Point(10, 120.0, {"gap": None, "loss": 1.5})]
    points += [Point(15, 187.4, {"gap": 0.25, "loss": 1.0})]
    assert training_lines(run, points) == [
        "time    3m 07s for 15 steps, 2 processes (horovod) on nurse, cpu",
        "energy  2.1 Wh (estimated: 10 W per busy core)",
        "loss    2 █▅▁ 1",
        "gap     0.5 █▁ 0.25",
    ]
