"""Processes that train when asked to: one alone, or several as a group, told what to do over a socket.

Several groups are alive at once and take turns, so that other work on the machine hits all alike. Those that wait are
stopped (SIGSTOP): Horovod's background thread would take processor time from the others.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import psutil

from gapsmith.trainer.launch import end, tail
from gapsmith.trainer.processes import environment, under_horovod, under_torch

WAIT_S, POLL_S = 90.0, 0.5
Launcher = Literal["alone", "horovod", "torch"]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """Train so many steps; ``together`` says whether the group shares each batch or each rank trains by itself."""

    batch: int  # molecules of all ranks together, or of each if not together
    steps: int
    together: bool = True


@dataclass(frozen=True)
class Exchange:
    """Average gradients so many times: one tensor of so many bytes, or the network's own if None."""

    size_bytes: int | None
    calls: int


@dataclass
class Group:
    """A group of ranks as the one who asks sees it; use as a context manager."""

    launcher: Launcher
    processes: int
    folder: Path
    _pipes: list["Connection[Any, Any]"] = field(default_factory=list)
    _ranks: list[psutil.Process] = field(default_factory=list)

    def __enter__(self) -> "Group":
        """Start the processes; ``ready`` waits for them."""
        address = str(self.folder / f"{self.launcher}.socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._listener.settimeout(POLL_S)
        self._log = self.folder / f"{self.launcher}.log"
        command: Sequence[str] = [sys.executable, "-m", "benchmarks.scaling.rank", address]
        if self.launcher == "horovod":
            command = under_horovod(command, self.processes, "lo", self.folder / self.launcher)
        elif self.launcher == "torch":
            command = under_torch(command, self.processes, self.folder / self.launcher)
        with self._log.open("wb") as log:
            self._launched = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],
                env=environment("lo") | {"HOROVOD_GLOO_TIMEOUT_SECONDS": "600"},  # the others' turns count in
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        end(self._launched, 0.0)
        for pipe in self._pipes:
            pipe.close()
        self._listener.close()

    def ready(self) -> None:
        """Wait for all ranks, and stop them; raises TimeoutError with the end of their log."""
        deadline = time.monotonic() + WAIT_S
        found: dict[int, tuple[Connection[Any, Any], int]] = {}
        while len(found) < self.processes:
            if time.monotonic() > deadline or self._launched.poll() is not None:
                raise TimeoutError(f"the ranks under {self.launcher} did not come: {tail(self._log)}")
            with suppress(TimeoutError):
                accepted, _ = self._listener.accept()
                pipe: Connection[Any, Any] = Connection(accepted.detach())
                rank, pid = self._received(pipe)
                found[rank] = pipe, pid
        self._pipes = [found[rank][0] for rank in range(self.processes)]
        self._ranks = [psutil.Process(found[rank][1]) for rank in range(self.processes)]
        self._signal(signal.SIGSTOP)

    def turn(self, wanted: Training | Exchange) -> tuple[list[Answer], float]:
        """What every rank answers, and how many cores other work took meanwhile; raises TimeoutError."""
        before = time.monotonic(), _busy_s(), self._own_s()
        self._signal(signal.SIGCONT)
        for pipe in self._pipes:
            pipe.send(wanted)
        answers = [self._received(pipe) for pipe in self._pipes]
        self._signal(signal.SIGSTOP)
        after = time.monotonic(), _busy_s(), self._own_s()
        took, busy, own = (now - then for now, then in zip(after, before, strict=True))
        return answers, max(0.0, busy - own) / took

    def _received(self, pipe: "Connection[Any, Any]") -> Any:
        if not pipe.poll(WAIT_S):
            raise TimeoutError(f"a rank under {self.launcher} said nothing for {WAIT_S:g} s: {tail(self._log)}")
        return pipe.recv()

    def _signal(self, number: signal.Signals) -> None:
        for rank in self._ranks:
            rank.send_signal(number)

    def _own_s(self) -> float:
        return sum(sum(rank.cpu_times()[:2]) for rank in self._ranks)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)  # guests count twice
