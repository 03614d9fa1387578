"""``gapsmith dft`` at work: queue, wait, write."""

import signal
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from gapsmith.cli.molecules import check, records
from gapsmith.core.chemistry.reader import ReadOptions
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.levels import Levels, configured
from gapsmith.core.recipes import Recipe
from gapsmith.core.signals import ending
from gapsmith.core.terminal import echo, print_rows
from gapsmith.dft_queue.commands.molecules import Entry, Wish, entry
from gapsmith.dft_queue.commands.recipes import combined, follow, levels_of
from gapsmith.dft_queue.commands.results import COLUMNS, Row, check_output, rows, write
from gapsmith.dft_queue.commands.submitting import TOGETHER, Asked, Submission
from gapsmith.dft_queue.commands.waiting import standing, view
from gapsmith.dft_queue.commands.waiting import wait as wait_for
from gapsmith.dft_queue.engines import find
from gapsmith.stack.dft_workers import DftWorkers
from gapsmith.store.database import Database

SHOWN = ("name", "smiles", "state", "gap_ev", "homo_ev", "lumo_ev", "cpu_s", "reused", "reason", "findings")


def carry_out(
    molecules: tuple[str, ...],
    reading: ReadOptions,
    wish: Wish,
    output: Path | None,
    *,
    recipe: Recipe | None = None,
    known: Levels | None = None,
    priority: int,
    retry_failed: bool,
    wait: bool,
    workers: int | None,
) -> int:
    """Compute molecules through the queue and write what came of them; returns how many were refused or failed.

    Args:
        molecules: files, SMILES, or - for standard input.
        reading: how files are read.
        wish: what is wanted of every molecule.
        output: file of the results; - for standard output, None for a table.
        recipe: compute a quantity from several calculations of each molecule.
        known: levels of theory that the recipe may name; None: those that are configured.
        priority: of the jobs.
        retry_failed: compute again what failed before.
        wait: until the jobs have ended; otherwise they are only queued.
        workers: DFT workers, if they are started here; None: the settings'.
    """
    if output is not None:
        check_output(output)
    if fault := find(wish.level.engine).fault(wish.level):
        raise InputError(fault)
    by_calculation = {} if recipe is None else levels_of(recipe, wish.level, known or configured())
    first = replace(wish, level=next(iter(by_calculation.values()), wish.level))
    check(molecules)
    with ExitStack() as cleanup:
        stopped: list[int] = []
        for number in ending():
            cleanup.callback(signal.signal, number, signal.signal(number, lambda got, _: stopped.append(got)))
        computing = cleanup.enter_context(DftWorkers(workers, "gapsmith dft"))
        database = cleanup.enter_context(Database.from_settings(computing.connected, connections=2))
        submission = Submission(database, priority=priority, retry_failed=retry_failed)

        def ended() -> bool:
            """Whether everything that was asked for has ended, after waiting for it if that is wanted."""
            if wait and not stopped:
                _wait(database, submission.asked, computing, stopped)
            return not stopped and _ended(database, submission.asked)

        _submit(submission, molecules, first, reading, stopped)
        asked = list(submission.asked)
        calculations = {} if recipe is None else follow(database, submission, recipe, by_calculation, wait=ended)
        echo(_asked_for(len(asked), submission.asked), err=True)
        ended()
        if stopped:
            echo("stopped; what was queued stays queued, and the same command takes up where it was", err=True)
            raise click.exceptions.Exit(130)
        with database.transaction() as connection:
            if recipe is None:
                found = rows(connection, asked, wish.level)
            else:
                found = combined(connection, recipe, by_calculation, calculations)
            if output is not None:
                write(connection, output, found, asked)
    return _conclude(found, output, table=wait)


def levels(path: Path | None) -> Levels:
    """The levels of theory of a file, or those that are configured."""
    return configured() if path is None else Levels.load(path)


def _submit(
    submission: Submission, molecules: tuple[str, ...], wish: Wish, reading: ReadOptions, stopped: list[int]
) -> None:
    """Queue all molecules, some at a time; those that are refused are told of at once."""
    some: list[Entry] = []
    for record in records(molecules, reading):
        one = entry(record, wish)
        if one.refusal is not None:
            where = f"{one.where}: " if len(molecules) > 1 and one.where != one.name else ""
            echo(f"refused: {where}{one.name}: {one.refusal}", err=True)
        for note in (*one.notes, *one.findings):
            echo(f"note: {one.where}: {note}", err=True)
        some.append(one)
        if len(some) == TOGETHER:
            submission.add(some)
            some = []
        if stopped:
            break
    submission.add(some)


def _asked_for(molecules: int, asked: list[Asked]) -> str:
    jobs = {one.job for one in asked if one.job is not None}
    refused = sum(one.job is None for one in asked)
    reused = sum(one.reused for one in asked)
    return f"{molecules} molecules: {len(jobs)} jobs, {reused} records known or asked for before, {refused} refused"


def _ended(database: Database, asked: list[Asked]) -> bool:
    with database.transaction() as connection:
        now = standing(connection, list({one.job for one in asked if one.job is not None}))
    return now.ended == now.total


def _wait(database: Database, asked: list[Asked], computing: DftWorkers, stopped: list[int]) -> None:
    """Have the jobs computed."""
    if _ended(database, asked):
        return
    jobs = list({one.job for one in asked if one.job is not None})
    echo(computing.work(), err=True)
    with view() as shown:
        try:
            wait_for(database, jobs, shown, stopped=lambda: bool(stopped), notes=computing.notes)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}. What was queued stays queued; the same command goes on with it"
            ) from error


def _conclude(found: list[Row], output: Path | None, *, table: bool) -> int:
    """The table, unless it went to a file; the summary; how many were refused or failed."""
    if output is None and table:
        new_columns = [key for key in (found[0] if found else ()) if key not in COLUMNS]
        keys = (*SHOWN[:3], *new_columns, *SHOWN[3:])
        shown = [{key: str(row[key] or "") if key == "reused" else row[key] for key in keys} for row in found]
        print_rows(shown, empty="no molecules in the input")
    counts = Counter(row["state"] for row in found)
    words = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no molecules in the input"
    new = {row["calculation_id"]: row["cpu_s"] or 0.0 for row in found if not row["reused"]}
    where = f"; results in {output}" if output is not None and str(output) != "-" else ""
    echo(f"{words}; {sum(new.values()):.1f} CPU-seconds{where}", err=output is not None or not sys.stdout.isatty())
    if counts["failed"]:
        echo("gapsmith jobs why ID explains a failure; --retry-failed computes such again", err=True)
    return sum(counts[state] for state in ("refused", "failed", "cancelled"))
