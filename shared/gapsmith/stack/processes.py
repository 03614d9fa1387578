"""Processes of this machine: start detached, recognise again, find leftovers, end for certain."""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from gapsmith.core.errors import UnavailableError
from gapsmith.core.stopping import StopFlag

LOOK_EVERY_S = 0.05  # where a process's end cannot be waited for
LOG_BYTES = 10 * 1024 * 1024  # a log larger than this is set aside before a process writes on


class ProcessRecord(BaseModel):
    """A process as it is written down; the moment of its start tells it from a later process with the same id."""

    model_config = ConfigDict(frozen=True)
    pid: int
    started: str  # see ``_started``

    @classmethod
    def of(cls, pid: int) -> "ProcessRecord | None":
        """Describe a living process; None if there is none."""
        started = _started(pid)
        return None if started is None else cls(pid=pid, started=started)

    def process(self) -> psutil.Process | None:
        """The process, if it still is the one that was written down and no zombie."""
        try:
            process = psutil.Process(self.pid)
            return process if _started(self.pid) == self.started and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def _started(pid: int) -> str | None:
    """When a process started: this boot's id and clock ticks since the boot, since the wall clock may be set meanwhile."""
    try:
        if sys.platform != "linux":
            return str(psutil.Process(pid).create_time())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"  # proc_pid_stat(5)
    except (psutil.Error, OSError, IndexError):
        return None


def free_port(preferred: int | None = None) -> int:
    """A free loopback port; ``preferred`` if nothing listens there."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise UnavailableError("no free TCP port on 127.0.0.1; close programs that hold ports and try again")


def spawn(argv: Sequence[str], *, log: Path, cwd: Path, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a program in its own session, so that neither Ctrl-C nor a closed terminal reaches it.

    Raises:
        UnavailableError: the program or its log cannot be opened.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".1.log"))
        with log.open("ab") as output:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                start_new_session=True,
                umask=0o077,
            )
    except OSError as error:
        raise UnavailableError(f"cannot start {Path(argv[0]).name}: {error}") from error


def log_tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 8192))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.05) -> bool:
    """Poll until the condition holds; False if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True


def wait_for_an_end(pids: Iterable[int], stop: StopFlag, timeout_s: float) -> None:
    """Wait until one of some processes ends, or the flag is set, or for so long; where that is not told, only a moment."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        stop.wait(min(LOOK_EVERY_S, timeout_s))
        return
    with contextlib.ExitStack() as opened:
        ends = select.poll()
        ends.register(stop.fileno(), select.POLLIN)
        for pid in pids:
            with contextlib.suppress(OSError):  # it has ended and is noticed otherwise, or no descriptor is free
                end_of = os.pidfd_open(pid)
                opened.callback(os.close, end_of)
                ends.register(end_of, select.POLLIN)
        ends.poll(1000 * timeout_s)


def working_in(folder: Path, program: str) -> list[psutil.Process]:
    """Processes of a program whose working folder is ``folder``, even if that was deleted under them."""
    places = {str(folder), f"{folder} (deleted)"}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == program and process.cwd() in places and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def marked(variable: str, prefix: str) -> list[psutil.Process]:
    """Other processes that were started with an environment variable that begins so, and all their descendants.

    Children inherit the variable whatever session or process group they move to.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(variable, "").startswith(prefix):
                found.append(process)
    return found


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone; a zombie that waits for its parent counts as gone."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def end(processes: Iterable[psutil.Process], *, first: signal.Signals = signal.SIGTERM, grace_s: float = 10.0) -> bool:
    """Ask processes to end, kill those that do not; True if none is left."""
    left = list(processes)
    for signal_number, patience_s in ((first, grace_s), (signal.SIGKILL, 5.0)):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal_number)
        deadline = time.monotonic() + patience_s
        while (left := [process for process in left if not ended(process)]) and time.monotonic() < deadline:
            time.sleep(0.05)
    return not left


def require_space(folder: Path, megabytes: int) -> None:
    """Raise UnavailableError if the disk of ``folder`` is nearly full."""
    free = shutil.disk_usage(folder).free // 2**20
    if free < megabytes:
        raise UnavailableError(
            f"disk of {folder} is full: {free} MB are free and the embedded servers need {megabytes} MB; "
            "free some space or set GAPSMITH_HOME to a folder on another disk"
        )
