"""A campaign's progress as people read it: live on a terminal, or as plain lines."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from gapsmith.core.terminal import echo, panel
from gapsmith.core.units import duration
from gapsmith.store.progress import Progress

PLAIN_EVERY_S = 15.0


def progress_lines(progress: Progress) -> list[str]:
    """A campaign's progress in a few lines."""
    p = progress
    best = "none yet" if p.best is None else f"{p.best.smiles}  {p.best.shown} ({p.best.level})"
    lines = [
        f"molecules  {p.sampled} drawn, {p.rejected} refused, {p.waiting_to_score} to score, {p.waiting} scored and "
        "waiting",
        f"DFT        {p.dft_done} of {p.dft_budget} done ({p.dft_failed} failed), {p.dft_running} running, "
        f"{p.dft_queued} queued"
        + (f"; certificates {p.certificates_done} done, {p.certificates_open} open" if p.certifies else ""),
        f"hits       {p.hits_by_kind}",
        f"best       {best}",
        f"surrogate  version {p.model_version}" + (f", {p.last_verdict}" if p.last_verdict else ""),
        f"time       {duration(p.elapsed_s)}, {time_left(p)}",
    ]
    return lines


def time_left(progress: Progress) -> str:
    """How long it may take: by the pace of DFT so far, or the rest of the wall-time budget while certificates are open."""
    p = progress
    most = max(0.0, p.wall_time_s - p.elapsed_s)
    if p.dft_done < 2 or p.first_dft_at_s is None or p.certificates_open:
        return f"at most {duration(most)} left"
    pace = (p.elapsed_s - p.first_dft_at_s) / p.dft_done
    return f"about {duration(min(most, pace * (p.dft_budget - p.dft_done)))} left"


class Watcher(Protocol):
    """Shows progress."""

    def show(self, progress: Progress, notes: Sequence[str]) -> None:
        """Show the present state; ``notes`` are about services that had to be restarted and the like."""
        ...

    def note(self, text: str) -> None:
        """Say something once, though there is no progress to show."""
        ...


class PlainWatcher:
    """One line whenever something a person cares about has changed, and now and then."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] = ()
        self._when = 0.0
        self._noted: set[str] = set()

    def show(self, progress: Progress, notes: Sequence[str]) -> None:
        """Print a line if there is news."""
        for text in notes:
            self.note(text)
        p = progress
        now = (p.dft_done, p.hits_by_kind, p.certificates_done, p.model_version, p.last_verdict, p.state)
        if now == self._last and time.monotonic() - self._when < PLAIN_EVERY_S:
            return
        self._last, self._when = now, time.monotonic()
        best = "-" if p.best is None else f"{p.best.smiles} {p.best.shown}"
        failed = f", {p.dft_failed} failed" if p.dft_failed else ""
        certificates = f" and {p.certificates_open} certificates" if p.certificates_open else ""
        echo(
            f"[{duration(p.elapsed_s):>7}] drawn {p.sampled}, waiting {p.waiting}, DFT {p.dft_done}/{p.dft_budget}{failed} "
            f"(+{p.dft_running}{certificates} open), hits {p.hits_by_kind}, best {best}, surrogate v{p.model_version}, "
            f"{time_left(p)}"
        )

    def note(self, text: str) -> None:
        """Print a line, once."""
        if text not in self._noted:
            self._noted.add(text)
            echo(f"  note: {text}")


class LiveWatcher:
    """A panel that is redrawn in place."""

    def __init__(self, redraw: Callable[..., None]) -> None:
        self._redraw = redraw

    def show(self, progress: Progress, notes: Sequence[str]) -> None:
        """Redraw."""
        done = (progress.dft_done, progress.dft_budget)
        self._redraw(progress_lines(progress), bar=done, notes=[f"note: {note}" for note in notes[-3:]])

    def note(self, text: str) -> None:
        """Show a text instead of progress."""
        self._redraw([], notes=[text])


@contextmanager
def watcher(title: str) -> Iterator[Watcher]:
    """Live on a terminal, plain lines otherwise."""
    if not sys.stdout.isatty():
        echo(title)
        yield PlainWatcher()
        return
    with panel(title) as redraw:
        yield LiveWatcher(redraw)
