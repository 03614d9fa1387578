"""``gapsmith run``: one command from a campaign file to a table of hits."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gapsmith.core.campaign import CampaignConfig
    from gapsmith.stack.machine import Machine
    from gapsmith.store.campaigns import Campaign
    from gapsmith.store.database import Database

LOOK_EVERY_S = 0.5


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would happen and how long it may take; touch nothing.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder for report, SDF and CSV.  [results/<name>]")
def run(file: Path, dry_run: bool, results: Path | None) -> None:
    """Run the campaign of FILE until its budget is spent or its hits are found.

    Starts the embedded servers and services unless 'gapsmith up' did. Ctrl-C stops cleanly; the same command resumes.
    """
    from gapsmith.core.campaign import read_campaign
    from gapsmith.core.chemistry.screening import check_constraints
    from gapsmith.core.errors import InputError

    config = read_campaign(file)
    try:
        check_constraints(config.constraints)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    for warning in config.warnings():
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    if dry_run:
        from gapsmith.coordinator.commands.estimate import plan

        for line in plan(config):
            click.echo(line)
        return
    _run(config, results)


def _run(config: "CampaignConfig", results: Path | None) -> None:
    from gapsmith.core.settings import settings
    from gapsmith.stack import dashboard, machine
    from gapsmith.stack.connect import bring_up_to_date, connected_settings, log_to, using
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.store.database import Database

    own = settings()
    started = time.monotonic()
    with ExitStack() as cleanup:
        cleanup.enter_context(_alone(own.home, config.name))
        cleanup.enter_context(log_to(own.home / "logs" / "run.log"))
        behind = machine.background_pid(own.home) is not None
        cleanup.enter_context(using(EmbeddedStack.of(own)))  # what this command starts it stops
        connected = connected_settings(quiet=True)
        bring_up_to_date(connected)
        database = cleanup.enter_context(Database.from_settings(connected))
        campaign, words = _start_or_resume(database, config, sole=not behind)
        click.echo(f"servers are up after {time.monotonic() - started:.1f} s; {words}")
        if behind and (address := dashboard.url(own.home)) is not None:
            click.echo(f"dashboard: {address}/campaigns/{campaign.name}")
        if not campaign.state.ended:
            supervised = None if behind else machine.Machine(connected)
            if _watch(database, campaign, supervised):
                click.echo(f"stopped; campaign {campaign.name} is paused. The same command goes on with it.")
                raise click.exceptions.Exit(130)
        _conclude(database, campaign, results or Path("results") / campaign.name)


def _start_or_resume(database: "Database", config: "CampaignConfig", *, sole: bool) -> tuple["Campaign", str]:
    """Find the campaign of this file, or create it; a changed file of the same name is a new campaign."""
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.store import campaigns

    with database.transaction() as connection:
        everything = campaigns.every(connection)
        family = [c for c in everything if c.name == config.name or _numbered(c.name, config.name)]
        same = [c for c in family if c.config.model_copy(update={"name": config.name}) == config]
        if same:
            found = same[-1]
            if found.state.ended:
                return found, f"campaign {found.name} has ended before: here are its results"
            words = f"campaign {found.name} goes on"
        else:
            name = config.name if not family else f"{config.name}-{len(family) + 1}"
            found = campaigns.create(connection, config.model_copy(update={"name": name}), source="cli")
            words = f"campaign {name} begins"
            if family:
                words += f" (the file has changed since {family[-1].name}, whose results stay)"
        if sole:  # nobody else's services work on this home: what another run left open waits
            for other in everything:
                if other.id != found.id and other.state == CampaignState.RUNNING:
                    campaigns.set_state(connection, other.id, CampaignState.PAUSED, source="cli")
        campaigns.set_state(connection, found.id, CampaignState.RUNNING, source="cli")
        return campaigns.get(connection, found.id), words


def _numbered(name: str, base: str) -> bool:
    head, _, number = name.rpartition("-")
    return head == base and number.isdigit()


def _watch(database: "Database", campaign: "Campaign", supervised: "Machine | None") -> bool:
    """Show progress until the campaign ends; True if the user interrupted it, which pauses it."""
    from gapsmith.coordinator.commands.display import watcher
    from gapsmith.core.errors import UnavailableError
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.store import campaigns
    from gapsmith.store.progress import progress

    window = campaign.config.target.window
    title = f"{campaign.name}: molecules with a gap of {window.value_ev:g} ± {window.tolerance_ev:g} eV"
    stopped: list[int] = []
    with ExitStack() as cleanup:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, lambda got, _: stopped.append(got))
            cleanup.callback(signal.signal, number, before)
        if supervised is not None:
            cleanup.enter_context(supervised)
        view = cleanup.enter_context(watcher(title))
        while not stopped:
            try:
                with database.transaction() as connection:
                    now = progress(connection, campaign.id)
            except UnavailableError as error:
                view.note(str(error))  # the keeper starts the server again
            else:
                view.show(now, supervised.notes() if supervised is not None else [])
                if CampaignState(now.state).ended:
                    return False
            time.sleep(LOOK_EVERY_S)
        with database.transaction() as connection:
            campaigns.set_state(connection, campaign.id, CampaignState.PAUSED, source="cli")
    return True


def _conclude(database: "Database", campaign: "Campaign", folder: Path) -> None:
    """Write the report and print the table of hits."""
    from gapsmith.coordinator.commands.report import hits_table, write_report
    from gapsmith.core.tables import duration, print_rows
    from gapsmith.store import campaigns

    with database.transaction() as connection:
        ended = campaigns.get(connection, campaign.id)
    files = write_report(database, ended, folder)
    click.echo(f"\n{ended.name} {ended.state}: {ended.stop_reason} ({duration(ended.elapsed_s)})\n")
    rows: list[dict[str, Any]] = hits_table(database, ended)
    print_rows(rows, empty="no hits: a wider tolerance, more DFT jobs or a target nearer to 7 eV make them likelier")
    click.echo(f"\nreport     {files.report}\nmolecules  {files.sdf}\ntables     {files.csv}")
    window = ended.config.target.window
    click.echo(
        "\nnext:\n"
        f"  gapsmith query --campaign {ended.name} --state labelled --gap {window.low_ev:g}:{window.high_ev:g} "
        "--sort gap\n"
        f"  gapsmith query --campaign {ended.name} --state labelled -o molecules.sdf\n"
        "  change target.value in the campaign file and run it again"
    )


@contextmanager
def _alone(home: Path, name: str) -> Iterator[None]:
    """Refuse a second run of the same campaign, and in one home a second run at all."""
    from gapsmith.core.errors import InputError
    from gapsmith.stack.connect import foreground

    with foreground(home, f"campaign {name}") as other:
        if other is not None:
            raise InputError(
                f"{home} is in use by another gapsmith command ({other}); wait for it, or give this one another "
                "GAPSMITH_HOME"
            )
        yield
