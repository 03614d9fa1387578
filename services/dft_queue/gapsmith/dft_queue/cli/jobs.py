"""``gapsmith jobs``: what the DFT queue does, what became of a job, and why; again, never mind, sooner."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli import options
from gapsmith.core.terminal import echo, print_json, print_rows
from gapsmith.stack.connect import connected

if TYPE_CHECKING:
    from uuid import UUID

    from gapsmith.store.database import Connection
    from gapsmith.store.jobs import Changed, Job, JobFilter

STATES = ("queued", "running", "done", "failed", "quarantined", "cancelled")
CLASSES = ("transient", "compute_lost", "chemistry", "poison")
REASON_WIDTH = 48


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say which jobs."""
    for option in (
        click.option("--class", "failure_class", type=click.Choice(CLASSES), help="Why they failed."),
        click.option("--campaign", metavar="NAME", help="Of one campaign only."),
        click.option("--level", metavar="LEVEL", help="Of one level of theory only."),
        click.option(
            "--state", "states", metavar="STATE[,STATE]", help=f"{', '.join(STATES)}; failed includes quarantined."
        ),
    ):
        command = option(command)
    return command


def job_filter(
    states: str | None,
    level: str | None,
    campaign: str | None,
    failure_class: str | None,
    ids: "Sequence[UUID] | None" = None,
) -> "JobFilter":
    """What the options say; raises InputError."""
    from gapsmith.core.errors import FailureClass
    from gapsmith.store.jobs import JobFilter, JobState

    return JobFilter(
        ids=None if ids is None else tuple(ids),
        states=tuple(JobState(name) for name in options.chosen(states, STATES, "--state")),
        level=level,
        campaign=campaign,
        failure_class=FailureClass(failure_class) if failure_class else None,
    )


@click.group()
def jobs() -> None:
    """List, explain, export, retry, cancel, re-prioritise and delete DFT jobs."""


@jobs.command("list")
@filtered
@click.option(
    "--limit", type=click.IntRange(1, 10**9), default=50, show_default=True, metavar="N", help="At most so many."
)
@click.option("--before", metavar="ID", help="Older than this one: the next page.")
@click.option("--json", "as_json", is_flag=True, help="A list of objects, with all digits.")
def list_(
    states: str | None,
    level: str | None,
    campaign: str | None,
    failure_class: str | None,
    limit: int,
    before: str | None,
    as_json: bool,
) -> None:
    """The newest jobs, and how many there are by state.

    Eight digits of an id are shown on a terminal; four or more are understood everywhere. A pipe gets tab-separated values.

    For example: gapsmith jobs list --state failed --class chemistry
    """
    from gapsmith.store.jobs import counts, listed, resolve

    wanted = job_filter(states, level, campaign, failure_class)
    with connected() as connection:
        last = resolve(connection, [before])[0] if before else None
        found = listed(connection, wanted, limit=limit, before=last)
        total = counts(connection, wanted)
    if as_json:
        print_json([job.model_dump() for job in found])
        return
    terminal = sys.stdout.isatty()
    print_rows([_line(job, terminal) for job in found], empty="no job is like that")
    words = ", ".join(f"{count} {state}" for state, count in total.items()) or "no jobs"
    more = f"; older ones: --before {str(found[-1].id)[:8]}" if len(found) == limit < sum(total.values()) else ""
    echo(f"{words}{more}", err=not terminal)


def _line(job: "Job", terminal: bool) -> dict[str, Any]:
    from gapsmith.core.units import duration

    reason = job.reason or ""
    waits = f"in {duration(-job.seconds)}" if job.seconds <= -1 else duration(job.seconds)
    return {
        "id": str(job.id)[:8] if terminal else str(job.id),
        "molecule": job.smiles or job.formula,
        "level": job.level,
        "state": str(job.state),
        "attempts": job.attempts,
        "rung": job.rung,
        "priority": job.priority,
        "time": waits,
        "host": job.host,
        "gap (eV)": job.gap_ev,
        "reason": reason if not terminal or len(reason) <= REASON_WIDTH else f"{reason[: REASON_WIDTH - 1]}…",
    }


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write its files and geometry."
)
def show(job_id: str, save: Path | None) -> None:
    """Everything about one job: level, structure, results, attempts, the end of its log, files."""
    from gapsmith.dft_queue.commands.jobs_show import lines, save_files
    from gapsmith.store.job_story import story
    from gapsmith.store.jobs import resolve

    with connected() as connection:
        one = story(connection, resolve(connection, [job_id])[0])
        echo("\n".join(lines(one)))
        if save is not None:
            for path in save_files(connection, one, save):
                echo(f"written: {path}")


@jobs.command("export")
@click.argument("job_id", metavar="ID")
@click.option("-o", "--output", type=options.PATH, required=True, metavar="FILE", help="Its ending says the format.")
def export(job_id: str, output: Path) -> None:
    """Write a job that is done for another program, at its final geometry.

    .xyz and .extxyz: geometry, and values with it. .molden: orbitals, of levels that keep them. .json: QCSchema.
    .inp, .gjf (or .com) and .psi4: inputs for ORCA, Gaussian and Psi4 with the level's method, basis set, solvent, charge
    and multiplicity.

    For example: gapsmith jobs export 3f2a91c0 -o furan.inp
    """
    from gapsmith.dft_queue.commands.export import write
    from gapsmith.store.jobs import resolve

    with connected() as connection:
        write(connection, resolve(connection, [job_id])[0], output)
    echo(f"written: {output}")


@jobs.command("why")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
def why(job_ids: tuple[str, ...]) -> None:
    """In words: why a job waits, what it does, what it found, or why it failed and what to do about it."""
    from gapsmith.dft_queue.commands.jobs_why import explanation
    from gapsmith.store.job_story import story, surroundings
    from gapsmith.store.jobs import resolve

    with connected() as connection:
        for number, found in enumerate(resolve(connection, job_ids)):
            words = explanation(story(connection, found), surroundings(connection, found))
            echo("\n".join(["", *words] if number else words))


@jobs.command("retry")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@filtered
def retry(job_ids: tuple[str, ...], **selected: str | None) -> None:
    """Queue failed or cancelled jobs again, with fresh budgets of attempts: those named, or all that the options select.

    For example: gapsmith jobs retry --state failed --class compute_lost
    """
    from gapsmith.store.jobs import retry as change

    _change("queued again", "failed or cancelled", job_ids, selected, change)


@jobs.command("cancel")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@filtered
def cancel(job_ids: tuple[str, ...], **selected: str | None) -> None:
    """Cancel queued or running jobs: those named, or all that the options select.

    A running one stops within seconds. Candidates of campaigns that wait for one are withdrawn; retry brings both back.
    """
    from gapsmith.store.jobs import cancel as change

    _change("cancelled", "queued or running", job_ids, selected, change)


@jobs.command("priority", context_settings={"ignore_unknown_options": True})  # -5 is a priority, not an option
@click.argument("priority", type=click.IntRange(-1000, 1000), metavar="N")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@filtered
def priority(priority: int, job_ids: tuple[str, ...], **selected: str | None) -> None:
    """Set the priority of queued or running jobs: the highest start first. Campaigns use 0, and 10 for certificates.

    For example: gapsmith jobs priority 50 --level certificate
    """
    from gapsmith.store.jobs import prioritise

    _change(
        f"now of priority {priority}",
        "queued or running",
        job_ids,
        selected,
        lambda connection, found: prioritise(connection, found, priority),
    )


@jobs.command("delete")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@filtered
@click.option("--dry-run", is_flag=True, help="Say what would go; delete nothing.")
@options.yes
def delete(job_ids: tuple[str, ...], dry_run: bool, yes: bool, **selected: str | None) -> None:
    """Delete jobs with their results, attempts and files: those named, or all that the options select.

    Those that run, and those of campaigns' candidates, stay: cancel the former first; the latter go with their campaign.

    For example: gapsmith jobs delete --level xtb --dry-run
    """
    from gapsmith.core.terminal import confirm
    from gapsmith.stack.connect import open_database
    from gapsmith.store import deleting

    with open_database() as database:
        with database.tried() as connection:
            wanted = _chosen(connection, job_ids, selected)
            found = deleting.jobs(connection, wanted)
        words = f"{_jobs(found.jobs)} and {found.geometries} geometries"
        for count, why in ((found.running, "they run"), (found.shared, "candidates of campaigns have them")):
            words += f"; {_jobs(count)} left alone, because {why}" if count else ""
        if dry_run:
            echo(f"would delete {words}")
            return
        if not yes and found.jobs:
            confirm(f"Delete {words}?")
        with database.transaction() as connection:
            deleting.jobs(connection, wanted)
    echo(f"deleted {words}")


def _chosen(connection: "Connection", job_ids: Sequence[str], selected: dict[str, str | None]) -> "JobFilter":
    """The jobs that a person named or selected; raises InputError if they did neither."""
    from gapsmith.core.errors import InputError
    from gapsmith.store.jobs import resolve

    if not job_ids and not any(selected.values()):
        raise InputError("which jobs? Name their ids, or select them with --state, --level, --campaign or --class")
    return job_filter(**selected, ids=resolve(connection, job_ids) if job_ids else None)


def _change(
    done: str,
    changeable: str,
    job_ids: Sequence[str],
    selected: dict[str, str | None],
    change: "Callable[[Connection, JobFilter], list[Changed]]",
) -> None:
    from gapsmith.store.jobs import counts

    with connected() as connection:
        wanted = _chosen(connection, job_ids, selected)
        before = sum(counts(connection, wanted).values())
        changed = change(connection, wanted)
    left = before - len(changed)
    echo(
        f"{_jobs(len(changed))} {done}"
        + (f"; {_jobs(left)} selected and left alone, not being {changeable}" if left > 0 else "")
    )


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
