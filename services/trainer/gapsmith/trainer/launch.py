"""Starts a training in processes of its own, watches it, and leaves none of them behind."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from gapsmith.core.errors import DataError, GapsmithError
from gapsmith.trainer.job import Folder, Progress, Result, read

POLL_S = 0.2
GRACE_S = 5.0  # to save and end, after being told to stop
Backend = Literal["horovod", "torch"]
SECRETS = ("GAPSMITH_POSTGRES_URL", "GAPSMITH_CELERY_BROKER_URL", "GAPSMITH_KAFKA_BOOTSTRAP", "GAPSMITH_KAFKA_OPTIONS")


class StoppedError(Exception):
    """The training was told to stop."""


class TrainingFailedError(GapsmithError):
    """A training ended without a result; the message has the last lines of its log."""


def horovod_problem() -> str | None:
    """Why Horovod cannot be used by this Python and torch, or None if it can; takes some seconds if it is installed."""
    if importlib.util.find_spec("horovod") is None:
        return "Horovod is not installed (build it with 'make horovod')"
    probe = subprocess.run(
        [sys.executable, "-c", "import horovod.torch"], capture_output=True, text=True, timeout=120, check=False
    )
    if probe.returncode == 0:
        return None
    reason = probe.stderr.strip().rpartition("\n")[2] or f"exit code {probe.returncode}"
    return f"Horovod cannot be loaded: {reason} (build it again with 'make horovod')"


def under_horovod(command: Sequence[str], processes: int, network_interface: str) -> list[str]:
    """The command line that runs a command in several processes of this machine that can exchange tensors."""
    launcher = [sys.executable, "-m", "horovod.runner.launch", "--gloo", "--disable-cache", "--start-timeout", "120"]
    hosts = ["-np", str(processes), "-H", f"localhost:{processes}", "--network-interface", network_interface]
    return [*launcher, *hosts, *command]


def under_torch(command: Sequence[str], processes: int) -> list[str]:
    """The same with torch's own launcher and collective operations."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    python, *rest = command
    return [*launcher, "--no-python", python, *rest]


def environment(network_interface: str) -> dict[str, str]:
    """This process's variables for the ranks: no addresses of servers (Horovod shows variables on command lines)."""
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return inherited | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "HOROVOD_GLOO_TIMEOUT_SECONDS": "60",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "180",
        "GLOO_SOCKET_IFNAME": network_interface,
        "NCCL_SOCKET_IFNAME": network_interface,
    }


def launch(
    folder: Folder,
    *,
    processes: int,
    backend: Backend = "horovod",
    log: Path,
    stopping: threading.Event,
    time_limit_s: float,
    network_interface: str = "lo",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Train as the folder's job says and return the result.

    Args:
        folder: with job and labels; a training that was stopped or killed in it goes on.
        processes: one, or several.
        backend: what several processes are started and exchange gradients with.
        log: file that the processes' output is added to.
        stopping: when set, the training saves its state and ends within seconds.
        time_limit_s: after so long it is ended.
        network_interface: of several processes.
        on_progress: called when the training tells of its progress.

    Raises:
        StoppedError: ``stopping`` was set.
        TrainingFailedError: it crashed or took too long.
    """
    folder.stop.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    started, told = time.monotonic(), 0
    rank = [sys.executable, "-m", "gapsmith.trainer.run", str(folder.path), "--while-pid", str(os.getpid())]
    command = rank
    if processes > 1:
        together = under_horovod(rank, processes, network_interface)
        command = together if backend == "horovod" else under_torch(rank, processes)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(network_interface),
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if stopping.wait(POLL_S):
                    folder.stop.touch()
                    raise StoppedError
                if time.monotonic() - started > time_limit_s:
                    raise TrainingFailedError(f"the training was ended after {time_limit_s:g} s; see {log}")
                told = _tell(folder, told, on_progress)
        finally:
            end(process, GRACE_S if folder.stop.exists() else 0.0)
    if process.returncode == 0 and folder.result.is_file():
        return read(Result, folder.result)
    raise TrainingFailedError(f"the training ended with exit code {process.returncode}; {log} ends with: {tail(log)}")


def end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """End a process and everything that it started, whatever sessions they are in."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        with suppress(psutil.NoSuchProcess):
            family = [*psutil.Process(process.pid).children(recursive=True), *family]
        process.kill()
        process.wait()
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=5.0)


def tail(log: Path, characters: int = 800) -> str:
    """The end of a log, on one line."""
    return " | ".join(log.read_bytes()[-characters:].decode(errors="replace").strip().splitlines())


def _tell(folder: Folder, told: int, on_progress: Callable[[Progress], None]) -> int:
    try:
        changed = folder.progress.stat().st_mtime_ns
    except FileNotFoundError:
        return told
    if changed != told:
        try:
            on_progress(read(Progress, folder.progress))
        except DataError:
            return told
    return changed
