"""Tables and durations for people: on a terminal with rich, tab-separated in a pipe."""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import RenderableType


def print_rows(rows: Sequence[Mapping[str, Any]], *, empty: str, title: str | None = None) -> None:
    """A table on a terminal, tab-separated values in a pipe."""
    if not rows:
        click.echo(empty, err=not sys.stdout.isatty())
        return
    if not sys.stdout.isatty():
        lines = ["\t".join(rows[0]), *("\t".join(_text(value) for value in row.values()) for row in rows)]
        click.echo("\n".join(lines))
        return
    from rich.console import Console

    Console().print(table(rows, title=title))


def table(rows: Sequence[Mapping[str, Any]], *, title: str | None = None) -> "RenderableType":
    """Rows as a rich table; numbers to the right."""
    from rich import box
    from rich.table import Table

    out = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name, value in rows[0].items():
        out.add_column(name, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for row in rows:
        out.add_row(*(_text(value) for value in row.values()))
    return out


def duration(seconds: float) -> str:
    """For people: ``1h 02m``, ``3m 07s``, ``42s``."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, timedelta):
        return duration(value.total_seconds())
    return str(value)
