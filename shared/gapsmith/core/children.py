"""Function calls in child processes that can be ended: for work on data from outside, whose time and memory are unknown.

Children live on and take one call after another; arguments and results are JSON. The kernel enforces the limits, because no
Python code of a process runs while a C++ library computes: a timer's signal ends a child when the time of a call is over.
CPU time counts, so that a busy machine does not end calls that are quick elsewhere, up to a multiple of it as wall time.
"""

import atexit
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from gapsmith.core import errors
from gapsmith.core.errors import GapsmithError, TooSlow

MOST: Final = max(2, min(4, os.cpu_count() or 2))  # children of a process
MEMORY_MB: Final = 4096  # address space of a child
START_S: Final = 60.0  # for starting Python and importing the function's module
WALL: Final = 5.0  # times the CPU time of a call
BUSY_S: Final = 10.0  # wait for a free child


class Overrun(Exception):
    """A call took more time or memory than it may."""


class _Child:
    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", __name__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )

    def ask(self, request: bytes, seconds: float) -> dict[str, Any]:
        """The answer to one request; raises Overrun, and BrokenPipeError if the child was gone before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        received = b""
        deadline = time.monotonic() + WALL * seconds + START_S
        while not received.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not part:
                raise Overrun(f"it takes more than {seconds:g} s, or more than {MEMORY_MB} MB of memory")
            received += part
        answer: dict[str, Any] = json.loads(received)
        return answer

    def abandon(self) -> None:
        """Close the pipes: a child that waits for its next call ends."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe and pipe.close()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self.abandon()
        self._process.wait()


_slots = threading.BoundedSemaphore(MOST)
_idle: list[_Child] = []


def call(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """What a function returns for some arguments, computed in a child.

    Args:
        function: of a module; arguments and result are what JSON can express.
        arguments: its arguments.
        seconds: CPU time after which the child is ended.

    Raises:
        Overrun: the time is over, or the memory is used up.
        TooSlow: all children are busy.
        GapsmithError: whatever the function raises.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    request = json.dumps({"function": name, "arguments": arguments, "seconds": seconds}).encode() + b"\n"
    if not _slots.acquire(timeout=BUSY_S):
        raise TooSlow("too many long computations run at present; try again in a moment")
    try:
        answer = _asked(request, seconds)
    finally:
        _slots.release()
    return result(answer)


def result(answer: dict[str, Any]) -> Any:
    """What a child's answer says: a result or an exception."""
    if "error" not in answer:
        return answer["result"]
    kind = getattr(errors, answer["error"], None)
    if kind is None:
        raise RuntimeError(f"a function failed in a child process:\n{answer['text']}")
    raise kind(**answer["values"]) if answer["values"] else kind(answer["text"])


def _asked(request: bytes, seconds: float) -> dict[str, Any]:
    while True:
        try:
            child, fresh = _idle.pop(), False
        except IndexError:
            child, fresh = _Child(), True
        try:
            answer = child.ask(request, seconds)
        except BrokenPipeError:  # it was ended from outside while it waited
            child.end()
            if fresh:
                raise Overrun("no child process can be started") from None
            continue
        except BaseException:
            child.end()
            raise
        if answer.get("error") == "MemoryError":
            child.end()
            raise Overrun(f"it takes more than {MEMORY_MB} MB of memory")
        _idle.append(child)
        return answer


@atexit.register
def close() -> None:
    """End the children that wait."""
    while _idle:
        _idle.pop().end()


def _forget() -> None:
    """After a fork: the children belong to the parent process."""
    global _slots
    _slots = threading.BoundedSemaphore(MOST)
    for child in _idle:
        child.abandon()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)


def _serve() -> None:
    """Answer calls until the parent process closes the pipe."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # what a library prints is not an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent process
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)  # it ends the process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)  # of a calculation's process, whose child this may be
    memory = MEMORY_MB << 20 if most == resource.RLIM_INFINITY else min(MEMORY_MB << 20, most)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for line in incoming:
        request = json.loads(line)
        outgoing.write(json.dumps(_answer(request)).encode() + b"\n")
        outgoing.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    module, _, name = request["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        signal.setitimer(signal.ITIMER_REAL, WALL * request["seconds"])
        try:
            return {"result": function(*request["arguments"])}
        finally:
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
    except GapsmithError as error:
        return {"error": type(error).__name__, "text": str(error), "values": vars(error)}
    except MemoryError:
        return {"error": "MemoryError"}
    except Exception as error:
        return {"error": type(error).__name__, "text": traceback.format_exc(), "values": {}}


if __name__ == "__main__":
    _serve()
