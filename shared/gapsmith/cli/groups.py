"""Groups whose commands belong to several services: ``gapsmith evaluate`` and ``gapsmith data``."""

import click

from gapsmith.cli.commands import CommandGroup


@click.group(cls=CommandGroup, prefix="evaluate.")
def evaluate() -> None:
    """Measure a model in the field's terms; print a table, write JSON and a picture."""


@click.group(cls=CommandGroup, prefix="data.")
def data() -> None:
    """Compute training data on this machine; what is done is not done again."""
