"""The relay: publishes what lies in the outbox, soon after its transaction has committed."""

import json
import time

import psycopg
import structlog

from gapsmith.bus.kafka import Producer, Record
from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.core.stopping import StopFlag
from gapsmith.store import outbox
from gapsmith.store.database import Database

log = structlog.get_logger()

RETRY_S = 0.5  # after an outage, at first
PRUNE_EVERY_S = 3600.0
PRUNED_TOGETHER = 1000  # of one transaction


def publish_waiting(database: Database, producer: Producer) -> int:
    """Publish the oldest unpublished events and mark them; returns how many there were.

    A crash between publishing and marking publishes them again: consumers' inboxes make that harmless.
    """
    with database.transaction() as connection:
        waiting = outbox.unpublished(connection)
        if waiting:
            producer.send(
                [
                    Record(event.topic, event.key.encode(), json.dumps(event.envelope.model_dump(mode="json")).encode())
                    for event in waiting
                ]
            )
            outbox.mark_published(connection, [event.id for event in waiting])
    return len(waiting)


def prune(database: Database, kept_days: float) -> int:
    """Forget events that were published and handled long ago, some at a time; returns how many there were."""
    forgotten = 0
    while True:
        with database.transaction() as connection:
            pruned = outbox.prune(connection, kept_days, PRUNED_TOGETHER)
        forgotten += pruned
        if pruned < PRUNED_TOGETHER:
            return forgotten


def run(settings: Settings, database: Database, stop: StopFlag) -> None:
    """Relay until told to stop; outages of Kafka or Postgres are waited out."""
    producer: Producer | None = None
    pause = RETRY_S
    pruned_at = -PRUNE_EVERY_S
    while not stop.is_set():
        try:
            producer = producer or Producer(settings)
            with outbox.news(database.url, outbox.CHANNEL) as news:
                while not stop.is_set():
                    while publish_waiting(database, producer):
                        pass
                    pause = RETRY_S
                    if time.monotonic() - pruned_at > PRUNE_EVERY_S:
                        pruned_at = time.monotonic()
                        if forgotten := prune(database, settings.events_kept_days):
                            log.info("old events forgotten", events=forgotten)
                    news.wait(settings.poll_interval_s, stop)
        except (UnavailableError, psycopg.Error) as error:
            log.warning("relay waits", reason=str(error))
            if producer is not None:
                producer.close()
                producer = None
            stop.wait(pause)
            pause = min(pause * 2, 10.0)
    if producer is not None:
        producer.close()
