"""``gapsmith dft``: molecules of any file through the DFT queue."""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli.reading import reading_options
from gapsmith.core.terminal import echo

if TYPE_CHECKING:
    from gapsmith.core.chemistry.reader import ReadOptions
    from gapsmith.core.levels import Levels
    from gapsmith.dft_queue.commands.molecules import Wish
    from gapsmith.dft_queue.commands.results import Row
    from gapsmith.dft_queue.commands.submitting import Asked, Submission
    from gapsmith.stack.dft_workers import DftWorkers
    from gapsmith.store.database import Database

SHOWN = ("name", "smiles", "state", "gap_ev", "homo_ev", "lumo_ev", "cpu_s", "reused", "reason", "findings")


class WithLevels(click.Command):
    """A command of files, whose one word ``levels`` is a command of its own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Of one or the other."""
        if args[:1] == ["levels"]:
            return list_levels.make_context(f"{info_name} levels", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        """Call the one whose context it is."""
        return super().invoke(context) if context.command is self else context.command.invoke(context)


LEVELS_FILE = click.option(
    "--levels",
    "levels_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML of your own levels of theory.",
)


@click.command(cls=WithLevels)
@click.argument("molecules", metavar="MOLECULES...", nargs=-1, required=True)
@click.option("--level", default="triage", show_default=True, metavar="LEVEL", help="Level of theory, by name.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write .csv, .parquet, .sdf (final geometries) or .json (QCSchema), by its ending; - is CSV on standard output.",
)
@LEVELS_FILE
@reading_options
@click.option("--charge", type=click.IntRange(-10, 10), metavar="N", help="Total charge.  [the file's]")
@click.option("--spin", type=click.IntRange(0, 20), metavar="N", help="Unpaired electrons.  [the file's]")
@click.option(
    "--geometry-method",
    default="generated",
    show_default=True,
    metavar="METHOD",
    help="What the geometries are minima of, such as gfn2-xtb: the relaxation stages that they have behind them are skipped.",
)
@click.option("--allow-fragments", is_flag=True, help="Compute molecules in several pieces.")
@click.option(
    "--priority", type=click.IntRange(-1000, 1000), default=0, show_default=True, metavar="N", help="Higher first."
)
@click.option("--retry-failed", is_flag=True, help="Compute again what failed before.")
@click.option("--no-wait", is_flag=True, help="Queue only.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Workers to start here.  [GAPSMITH_DFT_WORKERS]")
def dft(
    molecules: tuple[str, ...],
    level: str,
    output: Path | None,
    levels_file: Path | None,
    smiles_column: str | None,
    name_column: str | None,
    charge: int | None,
    spin: int | None,
    geometry_method: str,
    allow_fragments: bool,
    priority: int,
    retry_failed: bool,
    no_wait: bool,
    workers: int | None,
) -> None:
    """Compute molecules with DFT at a level of theory, through the queue.

    MOLECULES are files (.smi, .csv, .sdf, .xyz or QCSchema .json, also with .gz), SMILES, or - for standard input.

    What the database already has is reused. What cannot be computed is refused with the reason, and the rest goes on: every
    record gets a row, and so does a file that cannot be read. Ctrl-C leaves the jobs in the queue; the same command takes up
    where it was. Workers are started if none run.

    The exit code is 0 if all records were computed, 1 if some failed or were refused.

    The levels of theory that there are: gapsmith dft levels

    For example: gapsmith dft molecules.sdf --level certificate -o results.csv
    """
    from gapsmith.cli.molecules import check
    from gapsmith.core.chemistry.reader import ReadOptions
    from gapsmith.dft_queue.commands.molecules import Wish
    from gapsmith.dft_queue.commands.results import check_output, rows, write
    from gapsmith.dft_queue.commands.submitting import Submission
    from gapsmith.dft_queue.engines import find
    from gapsmith.stack.dft_workers import DftWorkers
    from gapsmith.store.database import Database

    if output is not None:
        check_output(output)
    theory = _levels(levels_file)[level]
    find(theory.engine)
    check(molecules)
    wish = Wish(theory, geometry_method, charge, spin, allow_fragments)
    with ExitStack() as cleanup:
        stopped: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            cleanup.callback(signal.signal, number, signal.signal(number, lambda got, _: stopped.append(got)))
        computing = cleanup.enter_context(DftWorkers(workers, "gapsmith dft"))
        database = cleanup.enter_context(Database.from_settings(computing.connected, connections=2))
        submission = Submission(database, wish, priority=priority, retry_failed=retry_failed)
        _submit(submission, molecules, wish, ReadOptions(smiles_column, name_column), stopped)
        echo(_asked_for(submission.asked), err=True)
        if not stopped and not no_wait:
            _wait(database, submission.asked, computing, stopped)
        if stopped:
            echo("stopped; what was queued stays queued, and the same command takes up where it was", err=True)
            raise click.exceptions.Exit(130)
        with database.transaction() as connection:
            found = rows(connection, submission.asked, level)
            if output is not None:
                write(connection, output, found, submission.asked)
    _conclude(found, output, no_wait)


def _levels(path: Path | None) -> "Levels":
    from gapsmith.core.levels import Levels, configured

    return configured() if path is None else Levels.load(path)


def _submit(
    submission: "Submission", molecules: tuple[str, ...], wish: "Wish", reading: "ReadOptions", stopped: list[int]
) -> None:
    """Queue all molecules, some at a time; those that are refused are told of at once."""
    from gapsmith.cli.molecules import records
    from gapsmith.dft_queue.commands.molecules import Entry, entry
    from gapsmith.dft_queue.commands.submitting import TOGETHER

    some: list[Entry] = []
    for record in records(molecules, reading):
        one = entry(record, wish)
        if one.refusal is not None:
            where = f"{one.where}: " if len(molecules) > 1 and one.where != one.name else ""
            echo(f"refused: {where}{one.name}: {one.refusal}", err=True)
        for note in one.notes:
            echo(f"note: {one.where}: {note}", err=True)
        some.append(one)
        if len(some) == TOGETHER:
            submission.add(some)
            some = []
        if stopped:
            break
    submission.add(some)


def _asked_for(asked: "list[Asked]") -> str:
    jobs = {one.job for one in asked if one.job is not None}
    refused = sum(one.job is None for one in asked)
    reused = sum(one.reused for one in asked)
    return f"{len(asked)} molecules: {len(jobs)} jobs, {reused} records known or asked for before, {refused} refused"


def _wait(database: "Database", asked: "list[Asked]", computing: "DftWorkers", stopped: list[int]) -> None:
    """Have the jobs computed."""
    from gapsmith.core.errors import UnavailableError
    from gapsmith.dft_queue.commands.waiting import standing, view, wait

    jobs = list({one.job for one in asked if one.job is not None})
    with database.transaction() as connection:
        now = standing(connection, jobs)
    if now.ended == now.total:
        return
    echo(computing.work(), err=True)
    with view() as shown:
        try:
            wait(database, jobs, shown, stopped=lambda: bool(stopped), notes=computing.notes)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}. What was queued stays queued; the same command goes on with it"
            ) from error


def _conclude(found: "list[Row]", output: Path | None, no_wait: bool) -> None:
    """The table, unless it went to a file; the summary; the exit code."""
    from collections import Counter

    from gapsmith.core.terminal import print_rows

    if output is None and not no_wait:
        shown = [{key: str(row[key] or "") if key == "reused" else row[key] for key in SHOWN} for row in found]
        print_rows(shown, empty="no molecules in the input")
    counts = Counter(row["state"] for row in found)
    words = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no molecules in the input"
    new = {row["calculation_id"]: row["cpu_s"] or 0.0 for row in found if not row["reused"]}
    where = f"; results in {output}" if output is not None and str(output) != "-" else ""
    echo(f"{words}; {sum(new.values()):.1f} CPU-seconds{where}", err=output is not None or not sys.stdout.isatty())
    if counts["failed"]:
        echo("gapsmith jobs why ID explains a failure; --retry-failed computes such again", err=True)
    bad = sum(counts[state] for state in ("refused", "failed", "cancelled"))
    if bad:
        raise click.exceptions.Exit(1)


@click.command()
@LEVELS_FILE
def list_levels(levels_file: Path | None) -> None:
    """The levels of theory: those that come with gapsmith and your own."""
    from gapsmith.core.levels import LevelOfTheory
    from gapsmith.core.terminal import print_rows

    known = _levels(levels_file)
    print_rows(
        [
            {
                "level": one.name,
                "about": one.about,
                "engine": one.engine,
                "method": one.method,
                "basis": one.basis,
                "relaxation": ", ".join(one.relaxation),
                "properties": ", ".join(one.properties),
            }
            for one in known.values()
        ],
        empty="no levels of theory",
    )
    if sys.stdout.isatty():
        echo("Keys of a level in a file of your own (--levels FILE, or GAPSMITH_LEVELS):")
        for name, field in LevelOfTheory.model_fields.items():
            if name != "name":
                echo(f"  {name:22s} {field.description}")
