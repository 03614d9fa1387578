"""``gapsmith evaluate``: what can be measured, each loaded only when it is called."""

import importlib
from typing import ClassVar

import click


class Measurable(click.Group):
    """A group whose commands services have, named in a table and imported on use."""

    COMMANDS: ClassVar[dict[str, tuple[str, str]]] = {  # name: (module:attribute, one line of help)
        "surrogate": ("gapsmith.surrogate.commands.evaluate:surrogate", "The surrogate: errors, calibration, speed."),
        "generator": (
            "gapsmith.generator.commands.evaluate:generator",
            "The generator, or anybody's molecules, beside real ones.",
        ),
    }

    def list_commands(self, context: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.COMMANDS:
            return None
        module, _, attribute = self.COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.COMMANDS.items()])


@click.group(cls=Measurable)
def evaluate() -> None:
    """Measure a model in the field's terms; prints a table, writes JSON and a picture."""
