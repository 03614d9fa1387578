"""A base training as people watch it, and its course in the database where there is one."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import Any, Literal, Self
from uuid import UUID

import psycopg

from gapsmith.core.errors import GapsmithError
from gapsmith.core.settings import settings
from gapsmith.core.terminal import echo, status
from gapsmith.core.units import duration
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import training_runs
from gapsmith.store.database import Database
from gapsmith.trainer.assignment import Assignment, Paths
from gapsmith.training.energy import total
from gapsmith.training.metrics import Point
from gapsmith.training.protocol import trainable

PLAIN_EVERY_S = 15.0
STORE_EVERY_S = 5.0


class Watch:
    """Shows progress on a terminal, or as a line now and then, and records it."""

    def __init__(self, assignment: Assignment, paths: Paths, backend: str) -> None:
        self._assignment, self._paths, self._backend = assignment, paths, backend
        self._role = trainable(assignment.architecture).role
        self._told = self._shown = self._stored = 0.0
        self._found: dict[str, Any] = {}
        self._points: list[Point] = []
        self._database: Database | None = None
        self._terminal = ExitStack()
        self._status: Callable[[str], None] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        one = "1 process" if self._assignment.processes == 1 else f"{self._assignment.processes} processes"
        echo(f"training a {self._role} in {one} ({self._backend}); log: {self._paths.log}", err=True)
        self._connect()
        if sys.stderr.isatty():
            self._status = self._terminal.enter_context(status("starting"))
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._terminal.close()
        if self._database is not None:
            self._database.close()

    def look(self) -> None:
        """Called several times a second."""
        try:
            changed = self._paths.progress.stat().st_mtime
            found = json.loads(self._paths.progress.read_text()) if changed != self._told else None
        except (OSError, ValueError):
            return
        now = time.monotonic()
        if found is not None:
            self._told = changed
            self._found = {**found, "held_out": found["held_out"] or self._found.get("held_out", {})}
            self._points.append(Point(**{name: found[name] for name in Point.__dataclass_fields__}))
        if self._status is not None:
            self._status(self.line())
        elif found is not None and now - self._shown > PLAIN_EVERY_S:
            echo(self.line(), err=True)
            self._shown = now
        if now - self._stored > STORE_EVERY_S:
            self._store()
            self._stored = now

    def line(self) -> str:
        """Where the training is."""
        found, wanted = self._found, self._assignment
        if not found:
            return "starting"
        parts = [f"step {found['step']}" + (f" of {wanted.steps}" if wanted.steps else "")]
        parts += [f"loss {found['losses']['loss']:.4f}"] if found["losses"].get("loss") is not None else []
        parts += [f"{found['samples_per_s']:.0f} samples/s"] if found["samples_per_s"] else []
        parts.append(f"{duration(found['elapsed_s'])}, {self._left()} left")
        parts += [_energy(found["energy_kwh"], found["energy_measured"])] if found["energy_kwh"] is not None else []
        parts += [f"{name} {value:.3g}" for name, value in found["held_out"].items() if name in ("gap_mae_ev", "loss")]
        return "  ".join(parts)

    def _left(self) -> str:
        elapsed, wanted = self._found["elapsed_s"], self._assignment
        ends = [wanted.time_budget_s - elapsed] if wanted.time_budget_s else []
        ends += [(wanted.steps - self._found["step"]) * elapsed / self._found["step"]] if wanted.steps else []
        return duration(max(0.0, min(ends)))

    def summary(self) -> None:
        """What came out."""
        (weights,) = self._paths.folder.glob(f"*-{self._assignment.seed}.safetensors")
        card = json.loads(weights.with_suffix(".json").read_text())
        done = card["training"]
        energy = done["energy"]
        used = f", {_energy(energy['kwh'], energy['measured'])}" if energy else ""
        echo(f"{done['steps']} steps in {duration(done['wall_s'])}{used}; weights: {weights}")
        for name, value in {**card.get("metrics", {}), **card.get("held_out", {})}.items():
            if isinstance(value, float):
                echo(f"  {name:<28}{value:.4f}")

    def end(self, state: Literal["finished", "failed", "stopped"], reason: str | None = None) -> None:
        """Record how it ended."""
        self._store()
        if self._database is not None:
            with suppress(GapsmithError, psycopg.Error), self._database.transaction() as connection:
                training_runs.finish(
                    connection, UUID(self._assignment.id), state, reason=reason, energy=total(self._paths.energy)
                )

    def _connect(self) -> None:
        """Record in the database that is named or that runs here; a training needs none."""
        own, wanted = settings(), self._assignment
        if own.postgres_url is None:
            stack = EmbeddedStack.of(own).find()
            if stack is None:
                return
            own = stack.apply(own)
        self._database = Database.from_settings(own, connections=1)
        try:
            with self._database.transaction() as connection:
                training_runs.start(
                    connection,
                    UUID(wanted.id),
                    role=self._role,
                    processes=wanted.processes,
                    backend=self._backend,
                    device=wanted.device,
                    planned_steps=wanted.steps,
                    directory=self._paths.metrics,
                    config=asdict(wanted),
                )
        except (GapsmithError, psycopg.Error) as error:
            echo(f"not recorded in the database: {error}", err=True)
            self._database.close()
            self._database = None

    def _store(self) -> None:
        if self._database is None or not self._points:
            return
        with suppress(GapsmithError, psycopg.Error):  # what is not stored now is stored with the next points
            with self._database.transaction() as connection:
                training_runs.record(connection, UUID(self._assignment.id), self._points, total(self._paths.energy))
            self._points.clear()


def _energy(kwh: float, measured: bool) -> str:
    return f"{1000 * kwh:.2g} Wh" + ("" if measured else " (estimated)")
