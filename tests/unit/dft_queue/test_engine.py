"""The child process: limits, deaths and stops, each classed with its reason."""

import signal
import threading
import time

import psutil
import pytest

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.engine import Limits, Stopped, run_in_child
from gapsmith.dft_queue.jobs import CalculationInput

WATER = CalculationInput((8, 1, 1), ((0.0, 0.0, 0.1177), (0.0, 0.7555, -0.4712), (0.0, -0.7555, -0.4712)), "triage")


def children() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children(recursive=True) if "gapsmith.dft_queue.child" in child.cmdline()
    ]


def failure(limits: Limits) -> CalculationError:
    with pytest.raises(CalculationError) as caught:
        run_in_child(WATER, limits)
    assert not children()
    return caught.value


def test_a_calculation_runs_in_a_child_within_a_gigabyte() -> None:
    output = run_in_child(WATER, Limits(memory_mb=1000))
    assert output.gap_ev == pytest.approx(9.87, abs=0.05)
    assert output.cpu_s > 0
    assert not children()


def test_too_little_memory_is_named() -> None:
    error = failure(Limits(memory_mb=120))
    assert error.failure_class == FailureClass.POISON
    assert "memory limit of 120 MB" in error.reason
    assert "GAPSMITH_DFT_MEMORY_MB" in error.reason


def test_a_child_that_overstays_is_killed() -> None:
    error = failure(Limits(wall_s=0.3))
    assert error.failure_class == FailureClass.TRANSIENT
    assert "not done after 0.3 s" in error.reason


def test_a_child_that_uses_too_much_cpu_time_is_quarantined() -> None:
    heavy = CalculationInput(tuple([6] * 30), tuple((1.5 * i, 0.1 * (i % 2), 0.0) for i in range(30)), "triage")
    with pytest.raises(CalculationError, match="CPU-time limit of 1 s") as caught:
        run_in_child(heavy, Limits(cpu_s=1.0))
    assert caught.value.failure_class == FailureClass.POISON


def when_started(act: object) -> threading.Thread:
    def wait() -> None:
        while not (found := children()):
            time.sleep(0.02)
        act(found[0])  # type: ignore[operator]  # a parameter of several kinds

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_child_that_somebody_kills_counts_as_lost() -> None:
    thread = when_started(lambda child: child.send_signal(signal.SIGKILL))
    error = failure(Limits())
    thread.join()
    assert error.failure_class == FailureClass.COMPUTE_LOST
    assert "SIGKILL" in error.reason


def test_stopping_ends_the_child_at_once() -> None:
    stop = threading.Event()
    thread = when_started(lambda _: stop.set())
    with pytest.raises(Stopped):
        run_in_child(WATER, Limits(), stop)
    thread.join()
    assert not children()


def test_bad_input_starts_no_process() -> None:
    crushed = CalculationInput((1, 1), ((0.0, 0.0, 0.0), (0.0, 0.0, 0.01)), "triage")
    with pytest.raises(CalculationError, match=r"0\.010 angstrom apart"):
        run_in_child(crushed, Limits(wall_s=0.0))
