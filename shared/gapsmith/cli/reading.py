"""The options of all commands that read molecules from files."""

from collections.abc import Callable
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def reading_options(command: Command) -> Command:
    """Add the options that say where a file has its SMILES and names; ``core.chemistry.reader.ReadOptions`` takes them."""
    smiles = click.option(
        "--smiles-column",
        metavar="NAME",
        help="Column of a table that has the SMILES, by name or number.  [smiles and other usual names]",
    )
    names = click.option(
        "--name-column",
        metavar="NAME",
        help="Column of a table, or tag of an SDF, that has the names.  [name, id and other usual names]",
    )
    return smiles(names(command))
