"""What people see of a long evaluation, and what is checked before it begins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapsmith.core.errors import InputError
from gapsmith.core.terminal import bar, echo
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
        echo("note: QM9 is prepared once, to compare with; about a minute", err=True)
        known.prepare()
        real.reference()


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars on a terminal, one after another; nothing in a pipe."""
    with bar() as shown:
        yield lambda stage, done, total: shown.show(done, total, label=stage)
