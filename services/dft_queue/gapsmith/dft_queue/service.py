"""The queue's keeper: wakes workers, takes back what dead workers held, rings again for what a broker forgot."""

import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from queue import Empty, SimpleQueue
from uuid import UUID

import structlog
from celery import Celery

from gapsmith.bus.inlet import Handler, on
from gapsmith.bus.service import Service, serve
from gapsmith.core.errors import UnavailableError
from gapsmith.core.messages import CalculationRequested
from gapsmith.core.settings import Settings
from gapsmith.dft_queue.app import QUEUES, depth, make_app, ring
from gapsmith.store import calculations
from gapsmith.store.database import Connection, Database

log = structlog.get_logger()

SWEEP_EVERY_S = 2.0
MOST_RINGS = 200  # of one queue in one sweep: more than any cluster's workers take until the next
OVERDUE_S = 5.0  # a calculation that is due and unclaimed for so long may have lost its message


class DftQueueService(Service):
    """Computes nothing itself."""

    name = "dft_queue"

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(settings, database)
        self._asked: SimpleQueue[CalculationRequested] = SimpleQueue()  # whom to wake workers for
        self._swept = 0.0

    @cached_property
    def app(self) -> Celery:
        """Celery with the settings' broker."""
        return make_app(self.settings)

    def handlers(self) -> Sequence[Handler]:
        """Calculations that were asked for."""
        return [on(CalculationRequested, self.on_requested)]

    def on_requested(self, connection: Connection, event_id: UUID, event: CalculationRequested) -> None:
        """Remember whom to wake a worker for; the calculation itself is in the database already."""
        self._asked.put(event)

    def work(self) -> bool:
        """Wake workers for what was asked for; sweep every now and then."""
        self.wake_workers()
        if time.monotonic() - self._swept >= SWEEP_EVERY_S:
            self._swept = time.monotonic()
            self.sweep()
        return False

    def pause_s(self) -> float:
        """Until the next sweep."""
        return min(SWEEP_EVERY_S, self.settings.poll_interval_s)

    def wake_workers(self) -> None:
        """Ring for every calculation that was asked for; for those that a broker does not take, the sweep rings later."""
        asked: dict[str, list[UUID]] = defaultdict(list)
        while True:
            try:
                event = self._asked.get_nowait()
            except Empty:
                break
            asked[event.queue].append(event.calculation_id)
        for queue, ids in asked.items():
            try:
                ring(self.app, queue, ids)
            except UnavailableError as error:
                log.warning("nobody was woken", queue=queue, calculations=len(ids), reason=str(error))

    def sweep(self) -> None:
        """End the attempts of silent workers; ring again for overdue calculations that no message stands for."""
        with self.database.transaction() as connection:
            swept = calculations.sweep(connection)
            overdue = calculations.waiting(connection, OVERDUE_S)
        for calculation_id in swept:
            log.warning("lease expired", calculation_id=str(calculation_id))
        for queue in QUEUES:
            mine = [calculation_id for calculation_id, its in overdue if its == queue]
            if mine and (missing := len(mine) - depth(self.app, queue)) > 0:
                ring(self.app, queue, mine[: min(missing, MOST_RINGS)])


def main(settings: Settings) -> None:
    """Entry point of the service."""
    serve(DftQueueService, settings)
