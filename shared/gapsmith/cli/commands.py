"""Commands as entry points: loaded when they are called, listed without importing them."""

import ast
import importlib.util
from functools import cache
from importlib.metadata import EntryPoint, entry_points
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


def _points() -> tuple[EntryPoint, ...]:
    found = tuple(entry_points(group=GROUP))
    if not found:
        raise click.UsageError("no commands are registered; install gapsmith again: pip install --editable .")
    return found


def summary(point: EntryPoint) -> str:
    """The first sentence of a command's docstring, from its source; empty if that cannot be read."""
    docstring = _docstring(point.module, point.attr)
    sentence, stop, _ = " ".join(docstring.partition("\n\n")[0].split()).partition(". ")
    return sentence + stop.strip()


def _docstring(module: str, name: str) -> str:
    """The docstring of a function that a module defines or imports by name."""
    for node in _source(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return _docstring(node.module or "", name)
    return ""


@cache
def _source(module: str) -> ast.Module:
    """The syntax tree of a module; only the packages above it are imported."""
    try:
        spec = importlib.util.find_spec(module)
        return ast.parse(Path(spec.origin if spec and spec.origin else "").read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError):
        return ast.Module(body=[], type_ignores=[])
