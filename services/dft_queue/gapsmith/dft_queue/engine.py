"""Runs a calculation in a child process with limits, so that nothing it does can hurt the worker."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

POLL_S = 0.05
TAIL_CHARACTERS = 2000


class Stopped(Exception):
    """The calculation was stopped from outside: lease lost, cancelled, or the worker shuts down."""


@dataclass(frozen=True)
class Limits:
    """Of one child process."""

    memory_mb: int = 3000  # address space
    wall_s: float = 3600.0
    cpu_s: float = 3600.0


def run_in_child(job: CalculationInput, limits: Limits, stop: threading.Event | None = None) -> CalculationOutput:
    """Run a calculation in a process of its own, killed with its children when it overstays or ``stop`` is set.

    Raises:
        CalculationError: it failed; the class says whether to try again.
        Stopped: ``stop`` was set.
    """
    job.check()  # no process for what cannot be computed
    with tempfile.TemporaryDirectory(prefix="gapsmith-dft-") as name:
        folder = Path(name)
        arguments = ["--outcome", str(folder / "outcome.json"), "--parent", str(os.getpid())]
        arguments += ["--memory-mb", str(limits.memory_mb), "--cpu-s", str(limits.cpu_s)]
        status = _run([sys.executable, "-m", "gapsmith.dft_queue.child", *arguments], job, folder, limits, stop)
        tail = (folder / "log").read_text(errors="replace")[-TAIL_CHARACTERS:].strip()
        if status is None:
            raise CalculationError(
                FailureClass.TRANSIENT,
                f"not done after {limits.wall_s:g} s, the time limit; GAPSMITH_DFT_TIME_LIMIT_S raises it",
            )
        if status == 0:
            return _read(folder / "outcome.json")
        raise _death(status, tail, limits)


def _run(
    command: list[str], job: CalculationInput, folder: Path, limits: Limits, stop: threading.Event | None
) -> int | None:
    """Run the child to its end; its status, or None if it overstayed."""
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **blas_environment(), "TMPDIR": str(folder), "PYSCF_TMPDIR": str(folder)},
            start_new_session=True,  # its own process group, to be killed as a whole
        )
    status: int | None = None
    try:
        _send(child, job)
        deadline = time.monotonic() + limits.wall_s
        while (status := child.poll()) is None and time.monotonic() < deadline:
            if stop is not None and stop.wait(POLL_S):
                raise Stopped
            if stop is None:
                time.sleep(POLL_S)
    finally:
        _kill(child)
    return status


def _send(child: subprocess.Popen[bytes], job: CalculationInput) -> None:
    assert child.stdin is not None  # opened as a pipe
    try:
        child.stdin.write(job.to_json().encode())
        child.stdin.close()
    except BrokenPipeError:
        pass  # it died already; its status tells why


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(path: Path) -> CalculationOutput:
    raw = json.loads(path.read_text())
    if "failure" in raw:
        raise CalculationError(FailureClass(raw["failure"][0]), raw["failure"][1])
    return CalculationOutput.from_dict(raw["output"])


def _death(status: int, tail: str, limits: Limits) -> CalculationError:
    last = tail.splitlines()[-1].strip() if tail else "it wrote nothing"
    if status == -signal.SIGXCPU:
        reason = f"used up its CPU-time limit of {limits.cpu_s:g} s; GAPSMITH_DFT_TIME_LIMIT_S raises it"
        return CalculationError(FailureClass.POISON, reason)
    if status < 0:
        name = signal.Signals(-status).name
        return CalculationError(
            FailureClass.COMPUTE_LOST, f"the child process was ended by {name}; last output: {last}"
        )
    if "MemoryError" in tail or "failed to map segment" in tail:
        reason = f"the memory limit of {limits.memory_mb} MB is too small; raise GAPSMITH_DFT_MEMORY_MB"
        return CalculationError(FailureClass.POISON, reason)
    return CalculationError(
        FailureClass.TRANSIENT, f"the child process ended with status {status}; last output: {last}"
    )


@lru_cache(maxsize=1)
def blas_environment() -> Mapping[str, str]:
    """One thread; and the right BLAS kernels: PySCF's OpenBLAS is of 2018 and takes newer processors for very old ones."""
    found = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().partition("flags")[2].partition("\n")[0].split()) if cpu.is_file() else set()
    if {"avx2", "fma"} <= flags and "OPENBLAS_CORETYPE" not in os.environ:
        found["OPENBLAS_CORETYPE"] = "Haswell"  # twice as fast
    return found
