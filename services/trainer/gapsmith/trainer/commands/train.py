"""``gapsmith train`` at work: a base training, in one process or several, watched and resumable."""

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from gapsmith.core.campaign import Duration
from gapsmith.core.documents import read
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import settings
from gapsmith.core.signals import ending
from gapsmith.core.terminal import echo
from gapsmith.trainer.assignment import Assignment, Paths
from gapsmith.trainer.commands.watching import Watch
from gapsmith.trainer.communicator import COMPRESS
from gapsmith.trainer.launch import StoppedError, supervise
from gapsmith.trainer.processes import Backend, environment, horovod_problem, together
from gapsmith.training.card import card_alone
from gapsmith.training.configuration import changed
from gapsmith.training.devices import usable_device
from gapsmith.training.protocol import trainable
from gapsmith.training.resume import saved
from gapsmith.training.shipped import roles, shipped


@contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """One training in a directory at a time."""
    paths.folder.mkdir(parents=True, exist_ok=True)
    with (paths.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UnavailableError(
                f"a training runs in {paths.folder}: wait for it, or choose another --directory"
            ) from error
        yield


def resumed(model: str, paths: Paths, given: dict[str, Any]) -> Assignment:
    if not paths.assignment.is_file():
        raise InputError(f"{paths.folder} holds no training to resume; leave --resume out to begin one")
    found = Assignment.read(paths)
    if found.architecture != (wanted := _architecture(model)):
        raise InputError(f"{paths.folder} holds a training of the architecture {found.architecture}, not of {wanted}")
    if given["changes"] or any(given[name] is not None for name in ("config", "start", "contrast")):
        raise InputError(
            "a resumed training keeps its configuration; leave out --config, --set, --start and --contrast"
        )
    steps, budget = given["steps"], _seconds(given["time_budget"])
    ended_by = {"steps": steps, "time_budget_s": budget} if steps or budget else {}
    return replace(found, processes=given["processes"], device=usable_device(given["device"]), **ended_by)


def new(model: str, paths: Paths, given: dict[str, Any]) -> Assignment:
    if saved(paths.state) or paths.assignment.is_file():
        raise InputError(f"{paths.folder} holds a training: go on with it by --resume, or choose another --directory")
    if given["steps"] is None and given["time_budget"] is None:
        raise InputError("say when to stop: --time-budget 30m, or --steps 10000")
    architecture = _architecture(model)
    chosen = trainable(architecture)
    config = read(given["config"]) if given["config"] is not None else chosen.default_config()
    assignment = Assignment(
        id=str(uuid4()),
        architecture=architecture,
        config=changed(config, given["changes"]),
        time_budget_s=_seconds(given["time_budget"]),
        device=usable_device(given["device"]),
        start=_absolute(given["start"]),
        contrast=_absolute(given["contrast"]),
        **{
            name: given[name]
            for name in (
                "steps", "processes", "scaling", "accumulate", "seed", "split", "molecules", "compiled",
                "full_precision", "storage", "replicas",
            )
        },
    )  # fmt: skip
    chosen.base_training(
        assignment.config or {}, assignment.options(paths)
    )  # says what is wrong before any process starts
    return assignment


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _architecture(model: str) -> str:
    """The architecture of a role's shipped weights; any other name is an architecture's own."""
    return str(card_alone(shipped(model, settings()))["architecture"]) if model in roles() else model


def backend_of(wanted: str, processes: int, hosts: str | None) -> Backend | None:
    """What several processes work together with; None for one."""
    if wanted == "single" and (processes > 1 or hosts is not None):
        raise InputError("--backend single trains in one process; leave out --np and --hosts")
    if processes == 1 and hosts is None:
        return None
    if hosts is not None and (wanted == "torch" or hosts.count(",") == 0):
        raise InputError("--hosts wants Horovod, and at least two machines: --hosts a:2,b:2")
    if wanted == "torch":
        return "torch"
    if (problem := horovod_problem()) is not None:
        raise UnavailableError(f"{problem}; or train with --backend torch, or in one process")
    return "horovod"


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(TypeAdapter(Duration).validate_python(text).total_seconds())
    except ValidationError as error:
        raise InputError(f"--time-budget {text}: write for example 90s, 15m or 1h30m") from error


def carry_out(assignment: Assignment, paths: Paths, backend: Backend | None, given: dict[str, Any]) -> None:
    threads = given["threads"] or max(1, (os.cpu_count() or 1) // (1 if given["hosts"] else assignment.processes))
    rank = [sys.executable, "-m", "gapsmith.trainer.base", str(paths.folder), "--while-pid", str(os.getpid())]
    interface = given["network_interface"]
    command = rank
    if backend is not None:
        command = together(rank, assignment.processes, backend, interface, paths.folder, given["hosts"])
    variables = environment(interface, threads) | ({COMPRESS: "fp16"} if given["compress"] else {})
    stopping = threading.Event()
    for number in ending():
        signal.signal(number, lambda *_: stopping.set())
    with Watch(assignment, paths, backend or "single") as watch:
        try:
            supervise(command, variables, log=paths.log, stop=paths.stop, stopping=stopping, look=watch.look)
        except StoppedError:
            watch.end("stopped")
            echo(f"stopped; go on with: gapsmith train {assignment.architecture} -d {paths.folder} --resume", err=True)
            sys.exit(130)
        except BaseException as error:
            watch.end("failed", str(error))
            raise
        watch.end("finished")
    watch.summary()
