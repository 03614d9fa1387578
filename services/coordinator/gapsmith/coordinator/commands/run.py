"""``gapsmith run`` at work: from a campaign to a table of hits, with servers and services for as long as it takes."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gapsmith.coordinator.commands import begin
from gapsmith.coordinator.commands.begin import Meaning, meaning
from gapsmith.coordinator.commands.following import conclude, folder, follow
from gapsmith.core.campaign import CampaignConfig
from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.settings import settings
from gapsmith.core.terminal import confirm, echo
from gapsmith.stack import dashboard, machine
from gapsmith.stack.connect import bring_up_to_date, connected_settings, foreground, log_to, using
from gapsmith.stack.owner import sign_in_address
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database

LOOK_EVERY_S = 0.5


def carry_out(config: CampaignConfig, results: Path | None, *, yes: bool) -> None:
    """Begin or go on with a campaign, follow it to its end, and write its results."""
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
        first = campaign
        echo(f"servers are up after {time.monotonic() - started:.1f} s; {words}")
        if behind and (address := dashboard.url(own.home)) is not None:
            echo(f"dashboard: {sign_in_address(connected, address, f'/campaigns/{campaign.name}')}")
        if not campaign.state.ended:
            campaign = follow(database, campaign, None if behind else machine.Machine(connected), results)
        conclude(database, campaign, folder(campaign, first, results))


def meant_by(config: CampaignConfig) -> str:
    """What a dry run says of the campaigns of earlier runs; it starts no servers to ask."""
    own = settings()
    if not own.postgres_url:
        stack = EmbeddedStack.of(own)
        if (found := stack.find()) is None:
            earlier = "; campaigns of earlier runs are not known while the servers rest" if own.home.exists() else ""
            return f"nothing was started or written{earlier}"
        own = found.apply(own)
    with Database.from_settings(own, connections=1) as database, database.transaction() as connection:
        return f"{meaning(campaigns.every(connection), config).words()}; nothing was started or written"


def _start_or_resume(database: Database, config: CampaignConfig, *, sole: bool, yes: bool) -> tuple[Campaign, str]:
    """Find the campaign of this file, or create it; a file of the same name that says something else is a new campaign."""
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


def _ask(meant: Meaning) -> None:
    """Ask whether a campaign goes on with a changed budget; raises InputError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InputError(
            f"only the budget has changed: {meant.words()}. Say --yes for that, or give the file another name to begin "
            "from zero"
        )
    confirm(f"Only the budget has changed: {meant.words()}. A file with another name begins from zero. Go on?")


@contextmanager
def _alone(home: Path, name: str) -> Iterator[None]:
    """Refuse a second run of the same campaign, and in one home a second run at all."""
    with foreground(home, f"campaign {name}") as other:
        if other is not None:
            raise InputError(
                f"{home} is in use by another gapsmith command ({other}); wait for it, or give this one another "
                "GAPSMITH_HOME"
            )
        yield
