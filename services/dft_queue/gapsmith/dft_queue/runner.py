"""Runs a calculation in a child process with limits, so that nothing it does can hurt the worker."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.dft_queue import child
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

POLL_S = 0.05
TAIL_CHARACTERS = 4000
RAISE_TIME = "the level's time_limit_s, or GAPSMITH_DFT_TIME_LIMIT_S, raises it"


class Stopped(Exception):
    """The calculation was stopped from outside: lease lost, cancelled, or the worker shuts down."""


@dataclass(frozen=True)
class Limits:
    """Of one child process."""

    memory_mb: int = 3000  # address space
    wall_s: float = 3600.0
    cpu_s: float = 3600.0


@cache
def server() -> Any:
    """The fork server that children come from, warm after some seconds; call it first from the main thread.

    Forking from it takes some milliseconds, where a new interpreter with PySCF takes a second.
    """
    os.environ.update(blas_environment())  # read when the numerical libraries are imported there
    context = multiprocessing.get_context("forkserver")
    # multiprocessing has every child run the worker's main module again: quick if what it imports is there
    context.set_forkserver_preload(["click", "gapsmith.core.errors", "gapsmith.dft_queue.warm"])
    forkserver.ensure_running()  # its imports go on in the background
    return context


def run_in_child(
    job: CalculationInput, folder: Path, limits: Limits, stop: threading.Event | None = None
) -> CalculationOutput:
    """Run a calculation in a process of its own, killed with its children when it overstays or ``stop`` is set.

    Args:
        job: what to compute.
        folder: empty, of this calculation: its log, its files and its temporary files.
        limits: of the process.
        stop: ends it when set.

    Raises:
        CalculationError: it failed; the class says whether to try again.
        Stopped: ``stop`` was set.
        OSError: no process could be started.
    """
    job.check()  # no process for what cannot be computed
    arguments = (job.model_dump_json(), folder, limits.memory_mb, limits.cpu_s)
    process = server().Process(target=child.main, args=arguments, daemon=False)
    try:
        process.start()
    except EOFError as error:
        raise OSError(f"the fork server of the calculations does not answer: {error}") from error
    try:
        deadline = time.monotonic() + limits.wall_s
        while process.exitcode is None and time.monotonic() < deadline:
            connection.wait([process.sentinel], timeout=POLL_S)
            if stop is not None and stop.is_set():
                raise Stopped
        status = process.exitcode
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it may have started, too
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.join()
        process.close()
    if status is None:
        reason = f"not done after {limits.wall_s:g} s, the time limit; {RAISE_TIME}"
        raise CalculationError(FailureClass.TRANSIENT, reason, FailureCode.TIME)
    if status == 0:
        return _read(folder / child.OUTCOME)
    raise _death(status, tail(folder), limits)


def tail(folder: Path) -> str:
    """The end of a calculation's log."""
    try:
        with (folder / child.LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_CHARACTERS))
            return log.read().decode(errors="replace").replace("\x00", "").strip()
    except OSError:
        return ""


def _read(path: Path) -> CalculationOutput:
    raw = json.loads(path.read_text())
    if "failure" in raw:
        failure_class, reason, code = raw["failure"]
        raise CalculationError(FailureClass(failure_class), reason, FailureCode(code))
    return CalculationOutput.model_validate(raw["output"])


def _death(status: int, log: str, limits: Limits) -> CalculationError:
    last = log.splitlines()[-1].strip() if log else "it wrote nothing"
    if status == -signal.SIGXCPU:
        reason = f"used up its CPU-time limit of {limits.cpu_s:g} s; {RAISE_TIME}"
        return CalculationError(FailureClass.POISON, reason, FailureCode.TIME)
    if status < 0:
        name = signal.Signals(-status).name
        reason = f"its process was ended by {name}; last output: {last}"
        return CalculationError(FailureClass.COMPUTE_LOST, reason, FailureCode.PROCESS)
    if "MemoryError" in log or "failed to map segment" in log or "Cannot allocate memory" in log:
        reason = f"the memory limit of {limits.memory_mb} MB is too small; {child.RAISE_MEMORY}"
        return CalculationError(FailureClass.POISON, reason, FailureCode.MEMORY)
    if "No space left on device" in log or "Disk quota exceeded" in log:
        return CalculationError(FailureClass.TRANSIENT, f"the disk is full; last output: {last}", FailureCode.DISK)
    return CalculationError(FailureClass.TRANSIENT, f"its process ended with status {status}; last output: {last}")


@lru_cache(maxsize=1)
def blas_environment() -> Mapping[str, str]:
    """One thread; and the right BLAS kernels: PySCF's OpenBLAS is of 2018 and takes newer processors for very old ones."""
    found = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().partition("flags")[2].partition("\n")[0].split()) if cpu.is_file() else set()
    if {"avx2", "fma"} <= flags and "OPENBLAS_CORETYPE" not in os.environ:
        found["OPENBLAS_CORETYPE"] = "Haswell"  # twice as fast
    return found
