"""``gapsmith data``: training data made on this machine, each command loaded only when it is called."""

from typing import ClassVar

import click

from gapsmith.cli.evaluate import Measurable


class Makable(Measurable):
    """The same for data."""

    COMMANDS: ClassVar[dict[str, tuple[str, str]]] = {
        "make": ("gapsmith.factory.make:make", "A label set: molecules of a pool, GFN2-xTB records, DFT labels."),
        "electronic": (
            "gapsmith.surrogate.commands.data:electronic",
            "GFN2-xTB's electronic structure of QM9, cached.",
        ),
        "xtb": (
            "gapsmith.surrogate.commands.data:xtb",
            "QM9 at GFN2-xTB geometries, displaced ones, energies and forces.",
        ),
    }


@click.group(cls=Makable)
def data() -> None:
    """Compute training data on this machine; what is done is not done again."""
