"""``gapsmith generate``, ``regrow`` and ``evaluate generator``: molecules on the command line, without servers."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli import options
from gapsmith.core.terminal import echo
from gapsmith.generator.commands.options import common, guidance, steps
from gapsmith.generator.commands.wishes import within

if TYPE_CHECKING:
    from gapsmith.generator.commands.request import Request


@click.command()
@common
def generate(output: Path, **given: Any) -> None:
    """Make new molecules with a wanted gap or other properties.

    Several properties may be wanted at once; without any, molecules come as they are in QM9.

    For example: gapsmith generate --gap 4.0 -n 100 -o out.sdf
    """
    from gapsmith.generator.commands.request import Request, check_output

    check_output(output)
    _carry_out(Request.of(given, leads=(), region=None), output)


@click.command()
@click.argument("lead", type=click.Path(path_type=Path))
@click.option(
    "--mask-fraction",
    type=float,
    metavar="SHARE",
    help="Share of the heavy atoms to draw again, a connected patch by chance, at most all that may change (--keep: all "
    "others); 1 keeps nothing else.  [0.3; with --keep 1]",
)
@click.option("--keep", metavar="SMARTS", help="Keep the atoms in matches of this pattern; the others may change.")
@click.option("--mask", metavar="SMARTS", help="Draw the atoms in matches of this pattern again, keep the others.")
@click.option(
    "--mask-atoms", metavar="3,4,7-9", help="The same by atom numbers as in the file, where the first atom is 1."
)
@click.option(
    "--depth",
    type=float,
    callback=within(above=0, most=1),
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="1 draws the part from scratch; less revises what is there, which keeps its number of atoms, down to a polish.",
)
@click.option(
    "--size-change",
    type=click.IntRange(0, 10**9),
    default=1,
    show_default=True,
    metavar="ATOMS",
    help="By how many heavy atoms the part may grow; it may shrink as well.",
)
@options.reading
@common
def regrow(
    lead: Path,
    output: Path,
    smiles_column: str | None,
    name_column: str | None,
    mask_fraction: float | None,
    keep: str | None,
    mask: str | None,
    mask_atoms: str | None,
    **given: Any,
) -> None:
    """Grow a part of LEAD again: an .sdf, .xyz, .smi, .csv or QCSchema .json; several molecules in it take turns.

    Kept atoms stay where they are to the last bit, and the tags kept_atoms and kept_atoms_in_lead say which they are.
    Results that are a lead again are left out.

    For example: gapsmith regrow lead.sdf --keep 'c1ccncc1' -n 50 -o out.sdf
    """
    from gapsmith.core.chemistry.reader import ReadOptions
    from gapsmith.core.errors import InputError
    from gapsmith.generator.commands import wishes
    from gapsmith.generator.commands.leads import read_leads
    from gapsmith.generator.commands.region import Region
    from gapsmith.generator.commands.request import Request, check_output, known_domain

    check_output(output)
    region = Region(keep, mask, wishes.numbers(mask_atoms, "--mask-atoms"), mask_fraction)
    region.check()
    leads = read_leads(lead, known_domain(given), ReadOptions(smiles_column, name_column))
    if output.exists() and output.samefile(lead):
        raise InputError(f"output: {output} is the lead itself; name another file")
    if region.atoms and len(leads) > 1:
        raise InputError(
            f"--mask-atoms numbers the atoms of one lead, but {lead} has {len(leads)}; use --mask or --keep"
        )
    for one in leads:
        if one.changes is not None:
            echo(f"note: {one.changes}", fg="yellow", err=True)
    _carry_out(Request.of(given, leads=tuple(leads), region=region), output)


def _carry_out(request: "Request", output: Path) -> None:
    """Draw, write, and say what came of it."""
    from gapsmith.core.errors import InputError
    from gapsmith.data import known
    from gapsmith.generator.commands import writing
    from gapsmith.generator.commands.summary import progress, reasons, summary
    from gapsmith.generator.commands.work import Work

    if not known.ready():
        echo("note: QM9 is prepared once, so that known molecules are told apart; about a minute", err=True)
        known.prepare()
    work = Work.of(request)
    for warning in work.warnings():
        echo(f"warning: {warning}", fg="yellow", err=True)
    with progress(request.count) as show:
        result = work.collect(show)
    if not result.found:
        if result.interrupted:
            echo("stopped by Ctrl-C before the first molecule; nothing was written", fg="yellow", err=True)
            raise click.exceptions.Exit(130)
        raise InputError(
            f"no such molecule came out of {result.attempts} attempts ({reasons(result)}), so nothing was written; ask for "
            "less at once, for example more elements or sizes, a larger part to draw again, or a lower --guidance"
        )
    writing.write(output, writing.entries(result.found, request.leads, work.tags()))
    if not result.complete:
        missing = "stopped by Ctrl-C" if result.interrupted else "no more such molecules are in reach"
        echo(f"warning: {len(result.found)} of {result.wanted} molecules: {missing}", fg="yellow", err=True)
    for line in summary(result, output):
        echo(line)
    if result.interrupted:
        raise click.exceptions.Exit(130)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@options.weights
@click.option(
    "--evaluator",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Other weights of the property network that scores gaps than the shipped ones.",
)
@click.option(
    "--molecules",
    type=click.IntRange(1, 10**9),
    default=1000,
    show_default=True,
    metavar="N",
    help="Attempts of a row, and real molecules at most.",
)
@click.option(
    "--conditional",
    type=click.IntRange(0, 10**9),
    metavar="N",
    help="Gaps asked for by EDM's protocol, which published numbers have 10000 of; 0 leaves gaps out.  [--molecules]",
)
@click.option(
    "--posebusters",
    type=click.IntRange(0, 10**9),
    metavar="N",
    help="Molecules of a row that PoseBusters tests, drawn at random; 0 leaves it out.  [--molecules]",
)
@click.option(
    "--gap",
    "gaps",
    type=float,
    multiple=True,
    metavar="EV",
    help="A wanted gap that gets a row of its own; may be given several times.",
)
@options.seed
@steps
@guidance
@options.device
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="CPU threads, and processes of PoseBusters.  [all cores]",
)
@options.evaluation_folder
@click.option("--card", is_flag=True, help="Write the numbers into the card of the weights too.")
def generator(file: Path | None, output: Path, **given: Any) -> None:
    """Measure the generator, or the molecules of FILE (.sdf, .xyz, QCSchema .json), beside real ones.

    Stability by EDM's table, strict validity, uniqueness, novelty, connectedness, PoseBusters, distances of bond lengths,
    angles, rings, elements and sizes from QM9's, speed, and how well wanted gaps are met by EDM's protocol. Shares are of all
    attempts unless they say otherwise.

    For example: gapsmith evaluate generator --molecules 200, or gapsmith evaluate generator others.sdf
    """
    from gapsmith.core.errors import InputError
    from gapsmith.generator.commands.evaluate import effort_of, of_file, of_weights, write
    from gapsmith.generator.evaluation.console import check_folder, prepare, progress
    from gapsmith.generator.evaluation.report import lines

    if file is not None and given["card"]:
        raise InputError("--card is of the generator's weights; a file of molecules has no card")
    if strange := [gap for gap in given["gaps"] if not math.isfinite(gap)]:
        raise InputError(f"--gap: {strange[0]} is not a finite number")
    check_folder(output)
    prepare()
    effort = effort_of(given)
    with progress() as show:
        report, settings = of_file(file, effort, show) if file is not None else of_weights(effort, given, show)
    for note in report.notes[:10]:
        echo(f"warning: {note}", fg="yellow", err=True)
    if len(report.notes) > 10:
        echo(f"warning: and {len(report.notes) - 10} records more like these", fg="yellow", err=True)
    write(report, settings | {"seed": effort.seed}, output, file, given)
    for line in lines(report):
        echo(line)
    echo(f"\nnumbers  {output / 'quality.json'}\npicture  {output / 'quality.png'}")
