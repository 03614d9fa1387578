"""The coordinator: steers campaigns. All it knows is in Postgres, so it may be killed at any time."""

import time
from collections.abc import Sequence
from uuid import UUID

import psycopg
import structlog

from gapsmith.bus.inlet import Handler, on
from gapsmith.bus.service import Service, serve
from gapsmith.coordinator import steering
from gapsmith.core.errors import UnavailableError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.logs import concerning
from gapsmith.core.messages import (
    CalculationFinished,
    CampaignChanged,
    CandidatesProposed,
    CandidatesScored,
    Event,
    TrainingFinished,
)
from gapsmith.core.settings import Settings
from gapsmith.store import calculations, campaigns
from gapsmith.store.database import Connection, Database

log = structlog.get_logger()

TICK_S = 1.0
MOST_TICK_S = 5.0  # of a longer gap between two ticks, an outage, only so much counts as running time


class CoordinatorService(Service):
    """Every event is followed by steering in its own transaction, so that the next dispatch never waits for a tick."""

    name = steering.SOURCE

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(settings, database)
        self._ticked = -TICK_S
        self._steers = False  # a campaign that runs

    def handlers(self) -> Sequence[Handler]:
        """Handlers of events."""
        return [
            on(CalculationFinished, self.on_finished),
            on(CandidatesScored, self.on_scored),
            on(CandidatesProposed, self.on_news),
            on(TrainingFinished, self.on_news),
            on(CampaignChanged, self.on_news),
        ]

    def on_finished(self, connection: Connection, event_id: UUID, event: CalculationFinished) -> None:
        """Give all candidates that share the calculation its result, in whichever campaigns they are."""
        sharing = calculations.sharing(connection, event.calculation_id)
        for campaign_id in sharing:  # all of them, in one order, before any row that they share
            campaigns.lock(connection, campaign_id)
        for campaign_id in sharing:
            self._steer(connection, campaign_id)

    def on_scored(self, connection: Connection, event_id: UUID, event: CandidatesScored) -> None:
        """There is more to choose from, or a new model has scored the waiting candidates again."""
        if event.rescored:
            steering.rerank(connection, event.campaign_id)
        self._steer(connection, event.campaign_id)

    def on_news(self, connection: Connection, event_id: UUID, event: Event) -> None:
        """Something has changed in a campaign."""
        if event.campaign_id is not None:
            self._steer(connection, event.campaign_id)

    def work(self) -> bool:
        """Tick every running campaign, once a second: time passes, and what an event did not tell is noticed."""
        if time.monotonic() - self._ticked < TICK_S:
            return False
        self._ticked = time.monotonic()
        with self.database.transaction() as connection:
            running = campaigns.every(connection, state=CampaignState.RUNNING)
        for campaign in running:
            try:
                with self.database.transaction() as connection:
                    self._steer(connection, campaign.id, tick_s=MOST_TICK_S)
            except (UnavailableError, psycopg.OperationalError):
                raise  # the base class waits
            except Exception:  # the other campaigns go on
                log.exception("campaign cannot be steered", campaign=campaign.name)
        self._steers = bool(running)
        self.doing = f"steers {len(running)} campaigns" if running else "idle"
        return False

    def pause_s(self) -> float:
        """Until the next tick; the start of a campaign is an event."""
        return min(TICK_S / 2, self.settings.poll_interval_s) if self._steers else self.settings.poll_interval_s

    def _steer(self, connection: Connection, campaign_id: UUID, *, tick_s: float | None = None) -> None:
        with concerning(campaign_id=campaign_id):
            steering.steer(connection, campaign_id, workers=self.settings.dft_workers, tick_s=tick_s)


def main(settings: Settings) -> None:
    """Serve until told to stop."""
    serve(CoordinatorService, settings)
