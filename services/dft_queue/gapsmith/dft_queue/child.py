"""The process of one calculation, forked from a warm server by ``runner.run_in_child``; its outcome is a JSON file."""

import contextlib
import ctypes
import errno
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h
RAISE_MEMORY = "the level's memory_mb, or GAPSMITH_DFT_MEMORY_MB, raises it"
WORKING_MB = 100  # least that a calculation needs beside what is imported
LOG, OUTCOME, FILES = "log", "outcome.json", "files"  # names in the calculation's folder


def main(text: str, folder: Path, memory_mb: int, cpu_s: float) -> None:
    """Run the calculation ``text`` in ``folder``, within limits; dies with the worker that asked for it."""
    os.setsid()  # its own process group, to be killed as a whole
    _redirect(folder)
    _die_with_worker()
    try:
        refused = _limit(memory_mb, cpu_s)
        result = {"failure": ["poison", refused, "memory"]} if refused else _outcome(text, folder, memory_mb)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    partial = folder / f"{OUTCOME}.partial"
    try:
        partial.write_text(json.dumps(result))
        partial.replace(folder / OUTCOME)
    except (OSError, MemoryError):
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # tearing down what was imported takes longer than a small calculation


def _outcome(text: str, folder: Path, memory_mb: int) -> dict[str, Any]:
    """Compute; what came of it as JSON's types: ``{"output": ...}`` or ``{"failure": [class, reason, code]}``."""
    from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
    from gapsmith.dft_queue.compute import compute
    from gapsmith.dft_queue.jobs import CalculationInput

    try:
        files = folder / FILES
        files.mkdir()
        job = CalculationInput.model_validate_json(text)
        return {"output": compute(job, files, memory_mb=memory_mb).model_dump(mode="json")}
    except CalculationError as error:
        return {"failure": [error.failure_class, error.reason, error.failure_code]}
    except MemoryError:
        reason = f"needs more memory than the limit of {memory_mb} MB"
        return {"failure": [FailureClass.POISON, f"{reason}; {RAISE_MEMORY}", FailureCode.MEMORY]}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        return {"failure": [FailureClass.TRANSIENT, f"writing a file failed: {error}", FailureCode.DISK]}


def _redirect(folder: Path) -> None:
    """Output into the log; temporary files into the folder."""
    os.chdir(folder)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.environ |= {"TMPDIR": str(folder), "PYSCF_TMPDIR": str(folder)}
    tempfile.tempdir = str(folder)
    if "pyscf" in sys.modules:  # it read the variable when it was imported, before there was a folder
        sys.modules["pyscf"].lib.param.TMPDIR = str(folder)


def _die_with_worker() -> None:
    """End the whole group when the worker or the fork server is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # of the server
    worker = multiprocessing.parent_process()
    assert worker is not None  # this is not a main process

    def watch() -> None:
        worker.join()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _limit(memory_mb: int, cpu_s: float) -> str | None:
    """Limit address space and CPU time of this process; no core dumps. Why it cannot be, or None."""
    taken_mb = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() // 2**20
    if memory_mb < taken_mb + WORKING_MB:  # libraries that get no memory may crash without a word
        return (
            f"the memory limit of {memory_mb} MB is too small: {taken_mb} MB are taken before anything is computed; "
            f"{RAISE_MEMORY}"
        )
    memory = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    seconds = max(1, int(cpu_s))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))  # SIGXCPU, later SIGKILL
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return None
