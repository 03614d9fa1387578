"""What people see of a long evaluation, and what is checked before it begins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from gapsmith.core.errors import InputError
from gapsmith.data import known
from gapsmith.generator.evaluation import real
from gapsmith.generator.evaluation.measuring import Progress


def check_folder(folder: Path) -> None:
    """Raise InputError if a folder cannot be made or written to."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"output: {there} is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"output: the folder {there} cannot be written to; choose another one")


def prepare() -> None:
    """Make what is made once, and say so."""
    if not known.ready() or not real.ready():
        click.echo("note: QM9 is prepared once, to compare with; about a minute", err=True)
        known.prepare()
        real.reference()


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars on a terminal, one after another; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield show
