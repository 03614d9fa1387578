"""Following campaigns from their start to the table of their hits."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from gapsmith.coordinator.commands.display import watcher
from gapsmith.coordinator.commands.report import hits_table, write_report
from gapsmith.core.errors import UnavailableError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.settings import settings
from gapsmith.core.signals import ending
from gapsmith.core.terminal import echo, print_rows
from gapsmith.core.units import duration
from gapsmith.stack.machine import Machine
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database
from gapsmith.store.progress import progress

LOOK_EVERY_S = 0.5


def folder(campaign: Campaign, first: Campaign, results: Path | None) -> Path:
    """Where the results of a campaign go: what the user named is for the first one, which they ran."""
    return results if results is not None and campaign.id == first.id else Path("results") / campaign.name


def follow(database: Database, campaign: Campaign, supervised: Machine | None, results: Path | None) -> Campaign:
    """Show progress until the campaign ends, and then of those that were started meanwhile with this run's services.

    Ctrl-C pauses what runs with them and ends the command. Returns the last one; the results of the others are written.
    """
    own = campaign
    with ExitStack() as cleanup:
        stopped: list[int] = []
        for number in ending():
            before = signal.signal(number, lambda got, _: stopped.append(got))
            cleanup.callback(signal.signal, number, before)
        if supervised is not None:
            cleanup.enter_context(supervised)
        while _watch(database, campaign, supervised, stopped):
            with database.transaction() as connection:
                running = campaigns.every(connection, state=CampaignState.RUNNING)
            if supervised is None or not running:
                return campaign
            conclude(database, campaign, folder(campaign, own, results))
            campaign = running[0]
            echo(f"\ncampaign {campaign.name} was started meanwhile and goes on; Ctrl-C pauses it")
        with database.transaction() as connection:
            everything = campaigns.every(connection, state=CampaignState.RUNNING)
            paused = [one for one in everything if supervised is not None or one.id == campaign.id]
            for one in paused:
                campaigns.set_state(connection, one.id, CampaignState.PAUSED, source="cli")
        names = [one.name for one in paused]
        echo(f"stopped; paused: {', '.join(names) or 'nothing'}.")
        if own.name in names:
            echo(f"The same command goes on with {own.name}.")
        for name in names:
            if name != own.name:
                echo(f"'gapsmith up' and 'gapsmith campaign resume {name}' go on with {name}.")
        raise click.exceptions.Exit(130)


def _watch(database: Database, campaign: Campaign, supervised: Machine | None, stopped: list[int]) -> bool:
    """Show progress until the campaign ends; False if the user interrupted it."""
    title = f"{campaign.name}: {campaign.config.target}"
    with watcher(title) as view:
        while not stopped:
            try:
                with database.transaction() as connection:
                    now = progress(connection, campaign.id)
            except UnavailableError as error:
                if EmbeddedStack.of(settings()).stopped():
                    raise UnavailableError(
                        f"gapsmith down has stopped the servers; the same command goes on with {campaign.name}"
                    ) from error
                view.note(str(error))  # the keeper starts the server again
            else:
                view.show(now, _notes(supervised) if supervised is not None else [])
                if CampaignState(now.state).ended:
                    return True
            time.sleep(LOOK_EVERY_S)
    return False


def _notes(supervised: Machine) -> list[str]:
    address = supervised.dashboard()
    return supervised.notes() + ([f"dashboard: {address}"] if address else [])


def conclude(database: Database, campaign: Campaign, folder: Path) -> None:
    """Write the report and print the table of hits."""
    with database.transaction() as connection:
        ended = campaigns.get(connection, campaign.id)
    files = write_report(database, ended, folder)
    echo(f"\n{ended.name} {ended.state}: {ended.stop_reason} ({duration(ended.elapsed_s)})\n")
    rows: list[dict[str, Any]] = hits_table(database, ended)
    print_rows(rows, empty="no hits: wider windows, more DFT jobs or a gap nearer to 7 eV make them likelier")
    for line in ended.level_lines():
        echo(line)
    echo(f"\nreport     {files.report}\nmolecules  {files.sdf}\ntables     {files.csv}")
    echo(
        "\nnext:\n"
        f"  gapsmith query --campaign {ended.name} --state hit --sort {ended.config.target.main.name}\n"
        f"  gapsmith query --campaign {ended.name} --state labelled -o molecules.sdf\n"
        "  change target in the campaign file and run it again"
    )
