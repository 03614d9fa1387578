"""Commands as entry points: loaded when they are called, listed without importing them."""

import importlib.util
import re
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, Final

import click

GROUP: Final = "gapsmith.commands"


class CommandGroup(click.Group):
    """A group whose commands are entry points.

    Args:
        prefix: of their names; "evaluate." for the commands of ``gapsmith evaluate``.
    """

    def __init__(self, *args: Any, prefix: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.prefix = prefix

    def points(self) -> dict[str, EntryPoint]:
        """Entry points by the names of their commands, in alphabetical order."""
        found = {
            point.name.removeprefix(self.prefix): point for point in _points() if point.name.startswith(self.prefix)
        }
        return {name: found[name] for name in sorted(found) if "." not in name}

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of the commands."""
        return list(self.points())

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if (point := self.points().get(name)) is None:
            return None
        command = point.load()
        if not isinstance(command, click.Command):
            raise click.UsageError(f"the entry point {point.name} ({point.value}) is not a click command")
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their first sentences."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(point)) for name, point in self.points().items()])


def _points() -> EntryPoints:
    found = registered(GROUP)
    if not found:
        raise click.UsageError("no commands are registered; install gapsmith again: pip install --editable .")
    return found


def registered(group: str) -> EntryPoints:
    """The entry points of a group, of all installed packages."""
    found: EntryPoints = _everything().select(group=group)
    return found


@cache
def _everything() -> Any:
    """All entry points, read once, for that takes a third of the help's time; their class depends on Python's version."""
    return entry_points()


def summary(point: EntryPoint) -> str:
    """The first sentence of a command's docstring, from its source; empty if that cannot be read.

    Neither imports nor parses the module, which would take most of the time of the help.
    """
    try:
        spec = importlib.util.find_spec(point.module)
        source = Path(spec.origin if spec and spec.origin else "").read_text(encoding="utf-8")
    except (ImportError, OSError):
        return ""
    found = re.search(rf'^def {point.attr}\(.*?\n    """(.*?)(?:\n\n|""")', source, re.MULTILINE | re.DOTALL)
    sentence, stop, _ = " ".join(found[1].split() if found else ()).partition(". ")
    return sentence + stop.strip()


@click.group(cls=CommandGroup, prefix="evaluate.")
def evaluate() -> None:
    """Measure a model in the field's terms; print a table, write JSON and a picture."""


@click.group(cls=CommandGroup, prefix="data.")
def data() -> None:
    """Compute training data on this machine; what is done is not done again."""
