"""Starts a training in processes of its own, watches it, and leaves none of them behind."""

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from gapsmith.core.errors import DataError, ErrorCode, GapsmithError
from gapsmith.trainer.job import Folder, Progress, Result, read
from gapsmith.trainer.processes import Backend, environment, together

POLL_S = 0.2
GRACE_S = 5.0  # to save and end, after being told to stop


class StoppedError(Exception):
    """The training was told to stop."""


class TrainingFailedError(GapsmithError):
    """A training ended without a result; the message has the last lines of its log."""

    code = ErrorCode.TRAINING


def launch(
    folder: Folder,
    *,
    processes: int,
    backend: Backend = "torch",
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
    told = 0

    def look() -> None:
        nonlocal told
        told = _tell(folder, told, on_progress)

    rank = [sys.executable, "-m", "gapsmith.trainer.run", str(folder.path), "--while-pid", str(os.getpid())]
    command = together(rank, processes, backend, network_interface, folder.path)
    supervise(
        command,
        environment(network_interface),
        log=log,
        stop=folder.stop,
        stopping=stopping,
        time_limit_s=time_limit_s,
        look=look,
    )
    if folder.result.is_file():
        return read(Result, folder.result)
    raise TrainingFailedError(f"the training ended without a result; {log} ends with: {tail(log)}")


def supervise(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    log: Path,
    stop: Path,
    stopping: threading.Event,
    time_limit_s: float = math.inf,
    look: Callable[[], None],
) -> None:
    """Run a training's processes to their end.

    Args:
        command: what starts them all.
        variables: their environment.
        log: file that their output is added to.
        stop: file that tells them to save and end, made when ``stopping`` is set.
        stopping: when set, they get some seconds for that.
        time_limit_s: after so long they are ended.
        look: called several times a second.

    Raises:
        StoppedError: ``stopping`` was set.
        TrainingFailedError: they crashed or took too long.
    """
    stop.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if stopping.wait(POLL_S):
                    stop.touch()
                    raise StoppedError
                if time.monotonic() - started > time_limit_s:
                    raise TrainingFailedError(f"the training was ended after {time_limit_s:g} s; see {log}")
                look()
        finally:
            end(process, GRACE_S if stop.exists() else 0.0)
    look()
    if process.returncode != 0:
        raise TrainingFailedError(
            f"the training ended with exit code {process.returncode}; {log} ends with: {tail(log)}"
        )


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
