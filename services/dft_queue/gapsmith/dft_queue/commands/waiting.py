"""Waits until jobs have ended and shows how far they are: a bar on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from gapsmith.core.errors import UnavailableError
from gapsmith.core.terminal import Bar, bar, echo
from gapsmith.core.units import duration
from gapsmith.store import heartbeats, jobs
from gapsmith.store.database import Connection, Database
from gapsmith.store.jobs import JobFilter, JobState

LOOK_EVERY_S: Final = 0.5
ADOPT_EVERY_S: Final = 5.0
PLAIN_EVERY_S: Final = 15.0
PATIENCE_S: Final = 60.0  # with a database that does not answer: an embedded one is started again meanwhile
ALONE_AFTER_S: Final = 60.0  # without any worker


@dataclass(frozen=True)
class Standing:
    """How many jobs are where."""

    queued: int
    running: int
    done: int
    failed: int  # and cancelled

    @property
    def total(self) -> int:
        """All."""
        return self.queued + self.running + self.done + self.failed

    @property
    def ended(self) -> int:
        """Those with an outcome."""
        return self.done + self.failed


@dataclass(frozen=True)
class Pace:
    """How fast it goes since waiting began."""

    ended: int
    elapsed_s: float

    def words(self, left: int) -> str:
        """For people: molecules a minute and the time left."""
        if not self.ended or self.elapsed_s <= 0:
            return "time left unknown"
        rate = self.ended / self.elapsed_s
        return f"{60 * rate:.1f} a minute, about {duration(left / rate)} left"


class View(Protocol):
    """Shows it."""

    def show(self, now: Standing, pace: Pace) -> None:
        """Where the jobs are."""
        ...

    def note(self, text: str) -> None:
        """Something to know, said once."""
        ...


class PlainView:
    """A line on standard error when something has ended, at most every few seconds."""

    def __init__(self) -> None:
        self._last = -1
        self._when = 0.0
        self._noted: set[str] = set()

    def show(self, now: Standing, pace: Pace) -> None:
        """Print a line if there is news."""
        silent = time.monotonic() - self._when
        if now.ended == self._last or (silent < PLAIN_EVERY_S and self._last >= 0 and now.ended < now.total):
            return
        self._last, self._when = now.ended, time.monotonic()
        echo(
            f"{now.done} of {now.total} done, {now.failed} failed, {now.running} running, "
            f"{pace.words(now.total - now.ended)}",
            err=True,
        )

    def note(self, text: str) -> None:
        """Print it."""
        if text not in self._noted:
            self._noted.add(text)
            echo(f"note: {text}", err=True)


class LiveView:
    """A bar on standard error."""

    def __init__(self, shown: Bar) -> None:
        self._bar = shown
        self._noted: set[str] = set()

    def show(self, now: Standing, pace: Pace) -> None:
        """Redraw."""
        words = f"{now.failed} failed, {now.running} running, {pace.words(now.total - now.ended)}"
        self._bar.show(now.ended, now.total, words=words)

    def note(self, text: str) -> None:
        """Print it above the bar."""
        if text not in self._noted:
            self._noted.add(text)
            self._bar.note(text)


@contextmanager
def view() -> Iterator[View]:
    """A bar on a terminal, plain lines otherwise."""
    if not sys.stderr.isatty():
        yield PlainView()
        return
    with bar() as shown:
        yield LiveView(shown)


def wait(
    database: Database,
    ids: Sequence[UUID],
    shown: View,
    *,
    stopped: Callable[[], bool],
    notes: Callable[[], Sequence[str]] = list,
) -> Standing:
    """Wait until all jobs have ended or ``stopped``; returns where they are then.

    Raises:
        UnavailableError: the database is away for too long, or ``notes`` says that nobody will compute.
    """
    began = heard = time.monotonic()
    looked_after = -ADOPT_EVERY_S
    ended_before: int | None = None
    while True:
        for text in notes():
            shown.note(text)
        try:
            with database.transaction() as connection:
                if time.monotonic() - looked_after >= ADOPT_EVERY_S:
                    looked_after = time.monotonic()
                    jobs.adopt(connection, ids)
                now = standing(connection, ids)
                heard_of = {one.service for one in heartbeats.alive(connection)}
                alone = not now.running and heartbeats.DFT_WORKER not in heard_of
        except UnavailableError as error:
            if time.monotonic() - heard > PATIENCE_S:
                raise
            shown.note(str(error))
            time.sleep(LOOK_EVERY_S)
            continue
        heard = time.monotonic()
        ended_before = now.ended if ended_before is None else ended_before
        shown.show(now, Pace(now.ended - ended_before, heard - began))
        if now.ended == now.total or stopped():
            return now
        if alone and heard - began > ALONE_AFTER_S:
            shown.note("no DFT worker was heard of within the last minute; start one with: gapsmith dft_worker serve")
        time.sleep(LOOK_EVERY_S)


def standing(connection: Connection, ids: Sequence[UUID]) -> Standing:
    """Where jobs are."""
    found = jobs.counts(connection, JobFilter(ids=tuple(ids)))
    failed = sum(found.get(state, 0) for state in (JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED))
    return Standing(found.get(JobState.QUEUED, 0), found.get(JobState.RUNNING, 0), found.get(JobState.DONE, 0), failed)
