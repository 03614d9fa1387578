"""Commands of the surrogate: ``gapsmith predict``, ``evaluate surrogate``, ``data xtb`` and ``data electronic``."""

from functools import partial
from pathlib import Path

import click

from gapsmith.cli import options
from gapsmith.core.terminal import bar, echo

MOLECULES = click.option(
    "--molecules", type=click.IntRange(1, 10**9), required=True, metavar="N", help="Of the split, the first ones."
)
SPLIT = click.option(
    "--split", type=click.Choice(("train", "validation", "test")), default="train", show_default=True, help="Of QM9."
)
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N", help="Processes of one thread each.  [all cores]"
)


@click.command()
@click.argument("molecules", metavar="MOLECULES...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="FILE",
    help="CSV to write; - is standard output.  [a table on a terminal, CSV in a pipe]",
)
@options.reading
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
    from gapsmith.surrogate.predicting import predict as predicted

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


@click.command()
@options.weights
@click.option("--split", type=click.Choice(("test", "validation")), default="test", show_default=True, help="Of QM9.")
@click.option("--limit", type=click.IntRange(2, 10**9), metavar="N", help="Molecules of a set at most, the first ones.")
@click.option("--campaigns", is_flag=True, help="Measure on the DFT labels in the database too.")
@click.option(
    "--source", multiple=True, metavar="NAME", help="Measure on another source's split too, e.g. label_set:FOLDER."
)
@options.device
@options.threads
@options.evaluation_folder
def surrogate(
    weights: Path | None,
    split: str,
    limit: int | None,
    campaigns: bool,
    source: tuple[str, ...],
    device: str,
    threads: int | None,
    output: Path,
) -> None:
    """Measure the surrogate on QM9: at QM9's own geometries, and at the GFN2-xTB geometries that are cached.

    Mean absolute error, NLL, CRPS, ENCE, miscalibration area, rank correlation of deviation and error, coverage and width of
    the 90 % interval, for every head; and the speed. Of the gap also how many of the large errors one was warned of.

    For example: gapsmith evaluate surrogate --limit 1000
    """
    import json
    import os

    import torch

    from gapsmith.core.errors import UnavailableError
    from gapsmith.core.settings import settings
    from gapsmith.surrogate.evaluate import evaluate, table
    from gapsmith.surrogate.labels import campaign_labels
    from gapsmith.surrogate.picture import draw
    from gapsmith.training.devices import usable_device
    from gapsmith.training.files import write_atomically
    from gapsmith.training.shipped import shipped

    torch.set_num_threads(threads or os.cpu_count() or 1)
    chosen = weights or shipped("surrogate", settings())
    labels = campaign_labels() if campaigns else {}
    with bar() as shown:
        found = evaluate(
            chosen,
            split,
            limit,
            device=usable_device(device),
            more=source,
            labels=labels,
            on_progress=lambda name, done, of: shown.show(done, of, label=name),
        )
    try:
        write_atomically(output / "surrogate.json", json.dumps(found.numbers(), indent=2).encode() + b"\n")
        draw(found, output / "surrogate.png")
    except OSError as error:
        raise UnavailableError(f"the results cannot be written: {error}") from error
    for line in table(found):
        echo(line)
    echo(f"\nnumbers  {output / 'surrogate.json'}\npicture  {output / 'surrogate.png'}")


@click.command()
@MOLECULES
@SPLIT
@WORKERS
def xtb(molecules: int, split: str, workers: int | None) -> None:
    """Relax molecules of QM9 with GFN2-xTB, displace them, and keep energies, forces and gaps.

    Two sources come out: QM9's properties at cheap geometries (qm9_gfn2), and GFN2-xTB's own energies, forces and gaps of
    relaxed and displaced geometries (gfn2). Stop it whenever you like: chunks that are done are not done again.

    For example: gapsmith data xtb --molecules 5000
    """
    from gapsmith.surrogate import chunks, relaxed, sources

    chunks.prepare(partial(chunks.relaxed_and_displaced, split), split, molecules, workers)
    counts = {name: len(sources.load(name, split) or ()) for name in ("qm9_gfn2", "gfn2")}
    summary = ", ".join(f"{count} geometries in {name}" for name, count in counts.items())
    echo(f"{relaxed.folder(split).parent.parent}: {summary}")


@click.command()
@MOLECULES
@SPLIT
@click.option(
    "--geometries",
    type=click.Choice(("qm9", "qm9_gfn2")),
    default="qm9",
    show_default=True,
    help="QM9's own, or those of gapsmith data xtb, which are computed if need be.",
)
@WORKERS
def electronic(molecules: int, split: str, geometries: str, workers: int | None) -> None:
    """Compute GFN2-xTB's electronic structure of QM9: orbital energies and populations, charges, bond orders.

    About 10 ms a molecule, 25 minutes for all of QM9 on one core. Stop it whenever you like: chunks that are done are not
    done again.

    For example: gapsmith data electronic --molecules 110000
    """
    from gapsmith.surrogate import chunks
    from gapsmith.surrogate import electronic as module

    chunks.prepare(partial(module.prepare_chunk, geometries, split), split, molecules, workers)
    echo(f"{module.folder(geometries, split)}: {len(module.load(geometries, split) or ())} molecules")
