"""Everything that people read on a terminal or in a pipe goes through this module.

Text may come from files, databases and other people's servers. It is shown as it is: ``rich`` never reads it as markup or
emoji codes (``[nH]`` in a SMILES is an atom), and control characters appear as ``\\x1b`` instead of reaching the terminal.
No other module imports rich or prints; ``tests/unit/core/test_terminal_only.py`` checks it.
"""

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gapsmith.core.units import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

T = TypeVar("T")

# C0 but tab and newline, delete, C1; separators and directions that reorder a line; surrogates, which cannot be written
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_IN_CELL = re.compile(f"{_CONTROL.pattern}|[\t\n]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str) -> str:
    """Text with its control characters, tab and newline apart, written out: ``\\x1b``."""
    return _CONTROL.sub(_escape, text)


def echo(
    message: object = "", *, err: bool = False, nl: bool = True, fg: str | None = None, bold: bool = False
) -> None:
    """Print a text as it is, in a colour if the stream is a terminal."""
    text = visible(str(message))
    click.echo(click.style(text, fg=fg, bold=bold or None) if fg or bold else text, err=err, nl=nl)


def print_json(document: object) -> None:
    """JSON with all digits; dates, ids and enums as text."""
    import json

    from gapsmith.core.output import plain

    echo(json.dumps(document, indent=1, default=lambda value: str(plain(value))))


class Echo(io.StringIO):
    """A file whose text is printed."""

    def write(self, text: str) -> int:
        """Print some text."""
        echo(text, nl=False)
        return len(text)


def confirm(question: str) -> None:
    """Ask for a yes; raises click.Abort on a no, and at the end of the input."""
    click.confirm(visible(question), abort=True)


def print_rows(
    rows: Sequence[Mapping[str, Any]], *, empty: str, title: str | None = None, right: Sequence[str] = ()
) -> None:
    """A table on a terminal, tab-separated values in a pipe; numbers, and columns that are named, to the right."""
    if not rows:
        echo(empty, err=not sys.stdout.isatty())
        return
    if not sys.stdout.isatty():
        echo("\n".join("\t".join(map(_cell, line)) for line in (rows[0], *(row.values() for row in rows))))
        return
    _console().print(_table(rows, title, right))


@contextmanager
def panel(title: str) -> Iterator[Callable[..., None]]:
    """A panel on standard output that is redrawn in place.

    Its function takes lines, and by name ``notes``, shown in yellow, and ``bar``: how many are done of how many.
    """
    from rich.live import Live

    with Live(console=_console(), refresh_per_second=4, transient=False) as live:

        def show(lines: Sequence[str], *, notes: Sequence[str] = (), bar: tuple[float, float] | None = None) -> None:
            _redraw(live, title, lines, notes, bar)

        yield show


@contextmanager
def bar(label: str = "", *, total: float | None = None) -> Iterator["Bar"]:
    """A progress bar on standard error, if that is a terminal; it goes away at its end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = _console(err=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, label, total)


class Bar:
    """One bar; made by :func:`bar`."""

    def __init__(self, progress: Any, label: str, total: float | None) -> None:
        self._progress = progress
        self._task = progress.add_task(visible(label), total=total, words="")

    def show(self, done: float, total: float | None = None, *, words: str = "", label: str | None = None) -> None:
        """How many are done, of how many, with words behind the bar; a new label begins a new count of time."""
        if label is not None and visible(label) != self._progress.tasks[0].description:
            self._progress.reset(self._task, description=visible(label), total=total)
        self._progress.update(self._task, completed=done, total=total, words=visible(words))

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(_text(f"note: {text}", "yellow"))


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar that counts them."""
    with bar(label, total=total) as shown:
        for number, item in enumerate(items, 1):
            yield item
            shown.show(number, total)


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """A line on standard error that is redrawn in place; its function takes the new text."""
    with _console(err=True).status(_text(text)) as shown:
        yield lambda new: shown.update(_text(new))


def _console(*, err: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=err, markup=False, emoji=False, highlight=False)


def _text(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(visible(text), style=style)


def _table(rows: Sequence[Mapping[str, Any]], title: str | None, right: Sequence[str] = ()) -> "Table":
    """Rows as a rich table; numbers, and columns that are named, to the right."""
    from rich import box
    from rich.table import Table

    out = Table(title=None if title is None else _text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for name, value in rows[0].items():
        to_right = name in right or isinstance(value, int | float)
        out.add_column(_text(name), justify="right" if to_right else "left", overflow="fold")
    for row in rows:
        out.add_row(*(_text(_cell(value)) for value in row.values()))
    return out


def _redraw(
    live: "Live", title: str, lines: Sequence[str], notes: Sequence[str], done: tuple[float, float] | None
) -> None:
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar

    shown = [_text("\n".join(lines))] if lines else []
    shown += [_text(note, "yellow") for note in notes]
    shown += [ProgressBar(completed=done[0], total=done[1], width=60)] if done is not None else []  # ends no line
    live.update(Panel(Group(*shown), title=_text(title), title_align="left", border_style="cyan"))


def _cell(value: Any) -> str:
    """A value in one line."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, timedelta):
        return duration(value.total_seconds())
    return _IN_CELL.sub(_escape, str(value))


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    number = ord(character)
    return _SHORT.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")
