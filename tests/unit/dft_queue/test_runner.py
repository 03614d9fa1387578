"""The child process: limits, deaths and stops, each classed with its reason."""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.levels import shipped
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.runner import Limits, Stopped, run_in_child, server, tail

pytestmark = [pytest.mark.slow, pytest.mark.serial]

LEVEL = shipped()["single-point"]
GEOMETRY = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])
WATER = CalculationInput.of(np.array([8, 1, 1]), GEOMETRY, LEVEL)
HEAVY = CalculationInput.of(np.full(30, 6), np.array([(1.5 * i, 0.1 * (i % 2), 0.0) for i in range(30)]), LEVEL)


@pytest.fixture(scope="module", autouse=True)
def warm_server() -> None:
    server()


def alive(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)  # others' dead children may not have been waited for yet


def servers() -> list[psutil.Process]:
    living = [one for one in psutil.Process().children() if alive(one)]
    return [one for one in living if any("forkserver" in word for word in one.cmdline())]


def children() -> list[psutil.Process]:
    """Children of the fork server: calculations."""
    return [child for one in servers() for child in one.children() if alive(child)]


def run(job: CalculationInput, limits: Limits, stop: threading.Event | None = None) -> CalculationOutput:
    with tempfile.TemporaryDirectory() as folder:
        return run_in_child(job, Path(folder), limits, stop)


def failure(limits: Limits) -> CalculationError:
    with pytest.raises(CalculationError) as caught:
        run(WATER, limits)
    assert not children()
    return caught.value


def test_a_calculation_runs_in_a_child_within_a_gigabyte() -> None:
    output = run(WATER, Limits(memory_mb=1000))
    assert output.gap_ev == pytest.approx(9.87, abs=0.05)
    assert output.cpu_s > 0
    assert not children()


def test_too_little_memory_is_named() -> None:
    error = failure(Limits(memory_mb=120))
    assert (error.failure_class, error.failure_code) == (FailureClass.POISON, FailureCode.MEMORY)
    assert "memory limit of 120 MB" in error.reason
    assert "GAPSMITH_DFT_MEMORY_MB" in error.reason


def test_a_child_that_overstays_is_killed() -> None:
    with pytest.raises(CalculationError) as caught:
        run(HEAVY, Limits(wall_s=0.3))
    assert not children()
    error = caught.value
    assert (error.failure_class, error.failure_code) == (FailureClass.TRANSIENT, FailureCode.TIME)
    assert "not done after 0.3 s" in error.reason


def test_a_child_that_uses_too_much_cpu_time_is_quarantined() -> None:
    with pytest.raises(CalculationError, match="CPU-time limit of 1 s") as caught:
        run(HEAVY, Limits(cpu_s=1.0))
    assert (caught.value.failure_class, caught.value.failure_code) == (FailureClass.POISON, FailureCode.TIME)


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
    assert (error.failure_class, error.failure_code) == (FailureClass.COMPUTE_LOST, FailureCode.PROCESS)
    assert "SIGKILL" in error.reason


def test_stopping_ends_the_child_at_once() -> None:
    stop = threading.Event()
    thread = when_started(lambda _: stop.set())
    with pytest.raises(Stopped):
        run(WATER, Limits(), stop)
    thread.join()
    assert not children()


def test_bad_input_starts_no_process() -> None:
    crushed = CalculationInput.of(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.01]]), LEVEL)
    with pytest.raises(CalculationError, match=r"0\.010 angstrom apart"):
        run(crushed, Limits(wall_s=0.0))


def test_the_log_tells_what_was_done(tmp_path: Path) -> None:
    run_in_child(WATER.model_copy(update={"level": shipped()["triage"]}), tmp_path, Limits())
    assert "relaxation with GFN2-xTB" in tail(tmp_path)
    assert "SCF rung diis: converged" in tail(tmp_path)


def test_a_fork_server_that_dies_is_replaced() -> None:
    run(WATER, Limits())
    (one,) = servers()
    one.kill()
    while one.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert run(WATER, Limits()).gap_ev == pytest.approx(9.87, abs=0.05)


def test_children_die_with_the_process_that_asked_for_them() -> None:
    """Without a word: a worker that is killed leaves nothing that computes."""
    program = (
        "import numpy as np, tempfile; from pathlib import Path; from gapsmith.core.levels import shipped;"
        "from gapsmith.dft_queue.jobs import CalculationInput; from gapsmith.dft_queue.runner import *;"
        "chain = np.array([(1.5 * i, 0.1 * (i % 2), 0.0) for i in range(30)]);"
        "job = CalculationInput.of(np.full(30, 6), chain, shipped()['single-point']);"
        "run_in_child(job, Path(tempfile.mkdtemp()), Limits())"
    )
    worker = psutil.Process(subprocess.Popen([sys.executable, "-c", program]).pid)
    deadline = time.monotonic() + 60
    while not (
        found := [c for c in worker.children(recursive=True) if c.cpu_times().user > 0.2 and c.parent() != worker]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = worker.children(recursive=True)
    worker.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert found
    assert not alive
