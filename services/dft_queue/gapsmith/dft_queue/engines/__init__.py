"""Engines by name: plug-ins of the entry-point group ``gapsmith.engines``."""

from functools import cache
from importlib.metadata import entry_points
from typing import Final

from gapsmith.core.errors import InputError
from gapsmith.core.levels import ENGINES
from gapsmith.dft_queue.engines.protocol import Engine

GROUP: Final = ENGINES


@cache
def find(name: str) -> Engine:
    """The engine of a name.

    Raises:
        InputError: there is none, with the names that there are; or what it stands on is not installed.
    """
    for point in entry_points(group=GROUP, name=name):
        try:
            engine = point.load()()
        except ImportError as error:
            raise InputError(f"engine {name!r} cannot be loaded: {error}") from error
        if not isinstance(engine, Engine):
            raise InputError(f"engine {name!r} ({point.value}) does not follow the protocol of engines")
        return engine
    raise InputError(f"no engine is called {name!r}; there is: {', '.join(names())}")


def names() -> list[str]:
    """All that are installed."""
    return sorted({point.name for point in entry_points(group=GROUP)})
