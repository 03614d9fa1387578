"""The inlet: hands each event to a service's handler exactly once, wherever it came from."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
import structlog

from gapsmith.bus.kafka import Consumer, Producer, Record
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.logs import concerning
from gapsmith.core.messages import DEAD_LETTER_TOPIC, Envelope, Event
from gapsmith.core.settings import Settings
from gapsmith.store import inbox, outbox
from gapsmith.store.database import Connection, Database

log = structlog.get_logger()

CATCH_UP_EVERY_S = 5.0
LOST_AFTER_S = 10.0  # an event that Kafka has not delivered by then is taken from the outbox
MOST_TRIES = 3

E = TypeVar("E", bound=Event)


class Handler(NamedTuple):
    """A class of events, and what is done with each; made by ``on``, which checks that the two fit."""

    event: type[Event]
    handle: Callable[[Connection, UUID, Any], None]


def on(event: type[E], handle: Callable[[Connection, UUID, E], None]) -> Handler:
    """Have events of a class handled by a function of connection, event id and event.

    It runs in the transaction of the event's inbox row, perhaps more than once, so it only writes to the database.
    What follows from it outside the database is done by ``Service.work``, which is woken after the commit.
    """
    return Handler(event, handle)


class Inlet:
    """Consumes the topics of a service's handlers."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        consumer: str,
        handlers: Iterable[Handler],
        on_handled: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.database = database
        self.consumer = consumer
        self.handlers = {one.event.TYPE: one for one in handlers}
        self.topics = sorted({one.event.TOPIC for one in self.handlers.values()})
        self.on_handled = on_handled

    def run(self, stop: threading.Event) -> None:
        """Consume until told to stop. Outages are waited out; meanwhile events come out of Postgres."""
        consumer: Consumer | None = None
        caught_up = -CATCH_UP_EVERY_S
        lost_after = 0.0  # at the start everything that was missed
        subscribed = False
        while not stop.is_set():
            try:
                if not subscribed:
                    self.subscribe()
                    subscribed = True
                if time.monotonic() - caught_up > CATCH_UP_EVERY_S:
                    self.catch_up(lost_after)
                    caught_up, lost_after = time.monotonic(), LOST_AFTER_S
                consumer = consumer or Consumer(self.settings, self.consumer, self.topics)
                records = list(consumer.poll(self.settings.poll_interval_s))
                for record in records:
                    self.handle(record)
                if records:
                    consumer.commit()
            except (UnavailableError, psycopg.Error) as error:
                log.warning("inlet waits", reason=str(error))
                if consumer is not None:
                    consumer.close()
                    consumer = None
                stop.wait(1.0)
        if consumer is not None:
            consumer.close()

    def subscribe(self) -> None:
        """Have the events that this consumer handles kept until it has."""
        with self.database.transaction() as connection:
            inbox.subscribe(connection, self.consumer, self.topics)

    def catch_up(self, older_than_s: float) -> int:
        """Handle events that this consumer never got; returns how many."""
        with self.database.transaction() as connection:
            missed = outbox.unhandled(connection, self.consumer, self.topics, older_than_s)
        for event in missed:
            self._deliver(event.envelope, event.envelope.model_dump_json().encode())
        return len(missed)

    def handle(self, record: Record) -> None:
        """Handle one message; a poisonous one goes to the dead letters, and the loop goes on."""
        try:
            envelope = Envelope.parse(record.value)
        except InputError as error:
            self._bury(record.value, str(error))
            return
        self._deliver(envelope, record.value)

    def _deliver(self, envelope: Envelope, raw: bytes) -> None:
        if (handler := self.handlers.get(envelope.type)) is None:
            if envelope.type.rpartition(".v")[0] in {known.rpartition(".v")[0] for known in self.handlers}:
                self._refuse(envelope, raw, f"version of {envelope.type!r} is not known here")
            return
        ids = {name: envelope.data.get(name) for name in ("campaign_id", "calculation_id")}
        with concerning(event_id=envelope.id, **ids):
            self._try(handler, envelope, raw)

    def _try(self, handler: Handler, envelope: Envelope, raw: bytes) -> None:
        for attempt in range(1, MOST_TRIES + 1):
            try:
                event = envelope.event()
                with self.database.transaction() as connection:
                    if inbox.take(connection, envelope.id, self.consumer):
                        handler.handle(connection, envelope.id, event)
                self.on_handled()
                return
            except InputError as error:
                self._refuse(envelope, raw, str(error))
                return
            except UnavailableError:
                raise
            except Exception as error:
                log.exception("event could not be handled", type=envelope.type, attempt=attempt)
                if attempt == MOST_TRIES:
                    self._refuse(envelope, raw, f"{type(error).__name__}: {error}")
                else:
                    time.sleep(0.1 * attempt)

    def _refuse(self, envelope: Envelope, raw: bytes, reason: str) -> None:
        self._bury(raw, reason)
        with self.database.transaction() as connection:
            inbox.refuse(connection, envelope.id, self.consumer, reason)

    def _bury(self, raw: bytes, reason: str) -> None:
        log.error("dead letter", reason=reason)
        letter = {"consumer": self.consumer, "reason": reason, "message": raw.decode(errors="replace")}
        producer = Producer(self.settings)
        try:
            producer.send([Record(DEAD_LETTER_TOPIC, self.consumer.encode(), json.dumps(letter).encode())])
        finally:
            producer.close()
