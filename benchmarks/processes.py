"""The processes that a home folder's servers and services run as."""

from collections.abc import Iterator
from pathlib import Path

import psutil


def of_home(home: Path) -> Iterator[psutil.Process]:
    """All that run now; one that ends meanwhile, or belongs to somebody else, is left out."""
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("GAPSMITH_HOME") == str(home) or process.cwd().startswith(str(home))
        except (psutil.Error, AttributeError):
            continue
        if ours:
            yield process
