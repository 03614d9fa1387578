"""The queue's keeper: wakes workers, takes back what dead workers held, rings again for what a broker forgot."""

import time
from collections.abc import Mapping
from functools import cached_property
from uuid import UUID

import structlog
from celery import Celery

from gapsmith.bus.inlet import Handler
from gapsmith.bus.service import Service, serve
from gapsmith.core.errors import UnavailableError
from gapsmith.core.messages import CalculationRequested, Event
from gapsmith.core.settings import Settings
from gapsmith.dft_queue.app import QUEUES, depth, make_app, ring
from gapsmith.store import calculations
from gapsmith.store.database import Connection

log = structlog.get_logger()

SWEEP_EVERY_S = 2.0
MOST_RINGS = 200  # of one queue in one sweep: more than any cluster's workers take until the next
OVERDUE_S = 5.0  # a calculation that is due and unclaimed for so long may have lost its message


class DftQueueService(Service):
    """Computes nothing itself."""

    name = "dft_queue"
    _swept = 0.0

    @cached_property
    def app(self) -> Celery:
        """Celery with the settings' broker."""
        return make_app(self.settings)

    def handlers(self) -> Mapping[type[Event], Handler]:
        """Calculations that were asked for."""
        return {CalculationRequested: self.on_requested}

    def on_requested(self, connection: Connection, event_id: UUID, event: Event) -> None:
        """Wake a worker. If the broker is away the event counts as handled all the same: the sweep rings later."""
        assert isinstance(event, CalculationRequested)  # the only event there is a handler for
        try:
            ring(self.app, event.queue, [event.calculation_id])
        except UnavailableError as error:
            log.warning("nobody was woken", calculation=str(event.calculation_id), reason=str(error))

    def work(self) -> bool:
        """Sweep, every now and then."""
        if time.monotonic() - self._swept >= SWEEP_EVERY_S:
            self._swept = time.monotonic()
            self.sweep()
        return False

    def sweep(self) -> None:
        """End the attempts of silent workers; ring again for overdue calculations that no message stands for."""
        with self.database.transaction() as connection:
            for calculation_id in calculations.sweep(connection):
                log.warning("lease expired", calculation=str(calculation_id))
        with self.database.transaction() as connection:
            overdue = calculations.waiting(connection, OVERDUE_S)
        for queue in QUEUES:
            mine = [calculation_id for calculation_id, its in overdue if its == queue]
            if mine and (missing := len(mine) - depth(self.app, queue)) > 0:
                ring(self.app, queue, mine[: min(missing, MOST_RINGS)])


def main(settings: Settings) -> None:
    """Entry point of the service."""
    serve(DftQueueService, settings)
