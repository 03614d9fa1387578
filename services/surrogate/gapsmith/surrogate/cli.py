"""Commands of the surrogate: ``gapsmith predict``, ``evaluate surrogate``, ``data xtb`` and ``data electronic``."""

from pathlib import Path

import click

from gapsmith.cli import options
from gapsmith.cli.reading import reading_options
from gapsmith.surrogate.commands.data import electronic, xtb
from gapsmith.surrogate.commands.evaluate import surrogate

__all__ = ["electronic", "predict", "surrogate", "xtb"]


@click.command()
@click.argument("molecules", metavar="MOLECULES...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="FILE",
    help="CSV to write; - is standard output.  [a table on a terminal, CSV in a pipe]",
)
@reading_options
@click.option(
    "--format", metavar="ENDING", help="Format of standard input, such as csv or sdf.  [by what its text looks like]"
)
@click.option("--relax", is_flag=True, help="GFN2-xTB relaxation of geometries that the input has, too.")
@options.weights
@options.device
@options.threads
def predict(
    molecules: tuple[str, ...],
    output: Path | None,
    smiles_column: str | None,
    name_column: str | None,
    format: str | None,
    relax: bool,
    weights: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Predict properties of molecules, with error bars.

    MOLECULES are files (.smi, .csv, .sdf, .xyz or QCSchema .json, also with .gz), SMILES, or - for standard input. Every
    property comes with its mean, standard deviation and 90 % interval, units in the column names, and every molecule with a
    flag that says whether it is unlike all training data. The other columns of the input are kept, and the column notes says
    what was taken from a comment or left out, such as a charge or isotopes. SMILES are embedded and
    relaxed with GFN2-xTB first.

    Molecules that cannot be predicted have the reason in the column error, and the others go on. The exit code is 0 if all
    molecules were predicted, 1 if some were not.

    For example: gapsmith predict 'c1ccccc1O', or gapsmith predict molecules.smi more.sdf -o out.csv
    """
    from gapsmith.cli.molecules import read_options
    from gapsmith.surrogate.commands.predict import predict as predicted

    failed = predicted(
        molecules,
        read_options(smiles_column, name_column, format),
        output,
        weights=weights,
        relax=relax,
        device=device,
        threads=threads,
    )
    if failed:
        raise click.exceptions.Exit(1)
