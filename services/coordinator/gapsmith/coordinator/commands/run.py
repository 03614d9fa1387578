"""``gapsmith run``: one command from a campaign file to a table of hits."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.core.terminal import confirm, echo

if TYPE_CHECKING:
    from gapsmith.coordinator.commands.begin import Meaning
    from gapsmith.core.campaign import CampaignConfig
    from gapsmith.stack.machine import Machine
    from gapsmith.store.campaigns import Campaign
    from gapsmith.store.database import Database

LOOK_EVERY_S = 0.5


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would happen and how long it may take; touch nothing.")
@click.option("--results", type=click.Path(path_type=Path), help="Folder for report, SDF and CSV.  [results/<name>]")
@click.option("--yes", is_flag=True, help="Go on with a changed budget without being asked.")
def run(file: Path, dry_run: bool, results: Path | None, yes: bool) -> None:
    """Run the campaign of FILE until its budget is spent or its hits are found.

    Starts the embedded servers and services unless 'gapsmith up' did. Ctrl-C stops cleanly; the same command resumes. If
    only the budget has changed since the last run, the same campaign goes on with it; any other change begins a new one.
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
        echo(f"warning: {warning}", fg="yellow", err=True)
    if dry_run:
        from gapsmith.coordinator.commands.estimate import plan

        for line in [*plan(config), _known(config)]:
            echo(line)
        return
    _run(config, results, yes=yes)


def _run(config: "CampaignConfig", results: Path | None, *, yes: bool) -> None:
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
        campaign, words = _start_or_resume(database, config, sole=not behind, yes=yes)
        echo(f"servers are up after {time.monotonic() - started:.1f} s; {words}")
        if behind and (address := dashboard.url(own.home)) is not None:
            echo(f"dashboard: {address}/campaigns/{campaign.name}")
        if not campaign.state.ended:
            campaign = _watch_all(database, campaign, None if behind else machine.Machine(connected), results)
        _conclude(database, campaign, _folder(campaign, config, results))


def _known(config: "CampaignConfig") -> str:
    """What a dry run says of the campaigns of earlier runs; it starts no servers to ask."""
    from gapsmith.coordinator.commands.begin import meaning
    from gapsmith.core.settings import settings
    from gapsmith.stack.stack import EmbeddedStack
    from gapsmith.store import campaigns
    from gapsmith.store.database import Database

    own = settings()
    if not own.postgres_url:
        stack = EmbeddedStack.of(own)
        if (found := stack.find()) is None:
            earlier = "; campaigns of earlier runs are not known while the servers rest" if own.home.exists() else ""
            return f"nothing was started or written{earlier}"
        own = found.apply(own)
    with Database.from_settings(own, connections=1) as database, database.transaction() as connection:
        return f"{meaning(campaigns.every(connection), config).words()}; nothing was started or written"


def _folder(campaign: "Campaign", config: "CampaignConfig", results: Path | None) -> Path:
    own = campaign.config.model_copy(update={"name": config.name}) == config
    return results if results is not None and own else Path("results") / campaign.name


def _start_or_resume(
    database: "Database", config: "CampaignConfig", *, sole: bool, yes: bool
) -> tuple["Campaign", str]:
    """Find the campaign of this file, or create it; a file of the same name that says something else is a new campaign."""
    from gapsmith.coordinator.commands import begin
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.store import campaigns

    with database.transaction() as connection:
        meant = begin.meaning(campaigns.every(connection), config)
    if meant.budget is not None and not yes:
        _ask(meant)
    words = meant.words()
    with database.transaction() as connection:
        found = meant.goes_on
        if found is None:
            found = campaigns.create(connection, config.model_copy(update={"name": meant.name}), source="cli")
        elif meant.budget is not None:
            begin.extend(connection, found, meant.budget)
        elif found.state.ended:
            return found, words
        if sole:  # nobody else's services work on this home: what another run left open waits
            for other in campaigns.every(connection, state=CampaignState.RUNNING):
                if other.id != found.id:
                    campaigns.set_state(connection, other.id, CampaignState.PAUSED, source="cli")
                    words += f"; {other.name}, which an earlier run left open, is paused"
        campaigns.set_state(connection, found.id, CampaignState.RUNNING, source="cli")
        return campaigns.get(connection, found.id), words


def _ask(meant: "Meaning") -> None:
    """Ask whether a campaign goes on with a changed budget; raises InputError where nobody can be asked."""
    from gapsmith.core.errors import InputError

    if not sys.stdin.isatty():
        raise InputError(
            f"only the budget has changed: {meant.words()}. Say --yes for that, or give the file another name to begin "
            "from zero"
        )
    confirm(f"Only the budget has changed: {meant.words()}. A file with another name begins from zero. Go on?")


def _watch_all(
    database: "Database", campaign: "Campaign", supervised: "Machine | None", results: Path | None
) -> "Campaign":
    """Show progress until the campaign ends, and then of those that were started meanwhile with this run's services.

    Ctrl-C pauses what runs with them and ends the command. Returns the last one; the results of the others are written.
    """
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.store import campaigns

    own = campaign
    with ExitStack() as cleanup:
        stopped: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, lambda got, _: stopped.append(got))
            cleanup.callback(signal.signal, number, before)
        if supervised is not None:
            cleanup.enter_context(supervised)
        while _watch(database, campaign, supervised, stopped):
            with database.transaction() as connection:
                running = campaigns.every(connection, state=CampaignState.RUNNING)
            if supervised is None or not running:
                return campaign
            _conclude(database, campaign, _folder(campaign, own.config, results))
            campaign = running[0]
            echo(f"\ncampaign {campaign.name} was started meanwhile and goes on; Ctrl-C pauses it")
        with database.transaction() as connection:
            everything = campaigns.every(connection, state=CampaignState.RUNNING)
            paused = [one for one in everything if supervised is not None or one.id == campaign.id]
            for one in paused:
                campaigns.set_state(connection, one.id, CampaignState.PAUSED, source="cli")
        names = ", ".join(one.name for one in paused)
        echo(f"stopped; paused: {names or 'nothing'}. The same command goes on with {own.name}.")
        raise click.exceptions.Exit(130)


def _watch(database: "Database", campaign: "Campaign", supervised: "Machine | None", stopped: list[int]) -> bool:
    """Show progress until the campaign ends; False if the user interrupted it."""
    from gapsmith.coordinator.commands.display import watcher
    from gapsmith.core.errors import UnavailableError
    from gapsmith.core.lifecycle import CampaignState
    from gapsmith.store.progress import progress

    window = campaign.config.target.window
    title = f"{campaign.name}: molecules with a gap of {window.value_ev:g} ± {window.tolerance_ev:g} eV"
    with watcher(title) as view:
        while not stopped:
            try:
                with database.transaction() as connection:
                    now = progress(connection, campaign.id)
            except UnavailableError as error:
                view.note(str(error))  # the keeper starts the server again
            else:
                view.show(now, supervised.notes() if supervised is not None else [])
                if CampaignState(now.state).ended:
                    return True
            time.sleep(LOOK_EVERY_S)
    return False


def _conclude(database: "Database", campaign: "Campaign", folder: Path) -> None:
    """Write the report and print the table of hits."""
    from gapsmith.coordinator.commands.report import hits_table, write_report
    from gapsmith.core.terminal import print_rows
    from gapsmith.core.units import duration
    from gapsmith.store import campaigns

    with database.transaction() as connection:
        ended = campaigns.get(connection, campaign.id)
    files = write_report(database, ended, folder)
    echo(f"\n{ended.name} {ended.state}: {ended.stop_reason} ({duration(ended.elapsed_s)})\n")
    rows: list[dict[str, Any]] = hits_table(database, ended)
    print_rows(rows, empty="no hits: a wider tolerance, more DFT jobs or a target nearer to 7 eV make them likelier")
    for line in ended.level_lines():
        echo(line)
    echo(f"\nreport     {files.report}\nmolecules  {files.sdf}\ntables     {files.csv}")
    window = ended.config.target.window
    echo(
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
