"""Options that the commands of the generator share."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gapsmith.cli import options
from gapsmith.generator.commands.wishes import within

Command = TypeVar("Command", bound=Callable[..., Any])

steps: Final = click.option(
    "--steps",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Steps of the reverse diffusion: more is better and slower.",
)
guidance: Final = click.option(
    "--guidance",
    type=float,
    callback=within(least=0),
    metavar="W",
    help="How hard the wanted properties pull: 0 not at all, 1 as in the data, more exaggerates.",
)


def _wanted(name: str, metavar: str, words: str, least: float = -math.inf) -> Callable[[Command], Command]:
    return click.option(f"--{name}", type=float, callback=within(least=least), metavar=metavar, help=f"Wanted {words}.")


def common(command: Command) -> Command:
    """Add them to a command."""
    for option in reversed(
        (
            _wanted("gap", "EV", "HOMO-LUMO gap in eV"),
            _wanted("homo", "EV", "HOMO energy in eV"),
            _wanted("lumo", "EV", "LUMO energy in eV"),
            _wanted("dipole", "DEBYE", "dipole moment in debye", least=0),
            _wanted("polarizability", "BOHR3", "polarizability in bohr^3", least=0),
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
            steps,
            guidance,
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
