"""Options that the commands of the generator share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gapsmith.cli import options
from gapsmith.generator.commands.wishes import within

Command = TypeVar("Command", bound=Callable[..., Any])


def common(command: Command) -> Command:
    """Add them to a command."""
    for option in reversed(
        (
            click.option("--gap", type=float, callback=within(), metavar="EV", help="Wanted HOMO-LUMO gap in eV."),
            click.option("--homo", type=float, callback=within(), metavar="EV", help="Wanted HOMO energy in eV."),
            click.option("--lumo", type=float, callback=within(), metavar="EV", help="Wanted LUMO energy in eV."),
            click.option(
                "--dipole", type=float, callback=within(least=0), metavar="DEBYE", help="Wanted dipole moment in debye."
            ),
            click.option(
                "--polarizability",
                type=float,
                callback=within(least=0),
                metavar="BOHR3",
                help="Wanted polarizability in bohr^3.",
            ),
            click.option(
                "-n",
                "count",
                type=click.IntRange(1, 1_000_000),
                default=10,
                show_default=True,
                metavar="N",
                help="Valid and different molecules that you get.",
            ),
            click.option(
                "-o",
                "--output",
                type=click.Path(path_type=Path),
                required=True,
                metavar="FILE",
                help="Write .sdf (geometry, all about it as tags), .smi or .csv, by its ending.",
            ),
            click.option("--elements", metavar="C,N,O", help="Elements of new atoms besides H.  [C,N,O,F]"),
            click.option("--heavy-atoms", metavar="4-9", help="Atoms other than hydrogen of a molecule."),
            options.seed,
            click.option(
                "--steps",
                type=click.IntRange(1, 1_000_000),
                metavar="N",
                help="Steps of the reverse diffusion: more is better and slower.",
            ),
            click.option(
                "--guidance",
                type=float,
                callback=within(least=0),
                metavar="W",
                help="How hard the wanted properties pull: 0 not at all, 1 as in the data, more exaggerates.",
            ),
            click.option(
                "--temperature",
                type=float,
                callback=within(above=0),
                metavar="T",
                help="1 draws as the data are, below 1 what is likeliest.",
            ),
            options.device,
            options.threads,
            options.weights,
        )
    ):
        command = option(command)
    return command
