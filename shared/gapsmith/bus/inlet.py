"""The inlet: hands each event to a service's handler exactly once, wherever it came from.

A message says only which event there is; the event itself is read from the outbox. So a message that somebody else wrote can
at most cause a look at what happened anyway.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from math import inf
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
import structlog

from gapsmith.bus.kafka import Consumer, Producer, Record
from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.logs import concerning
from gapsmith.core.messages import DEAD_LETTER_TOPIC, Envelope, Event, Notice
from gapsmith.core.settings import Settings
from gapsmith.core.stopping import StopFlag
from gapsmith.store import inbox, outbox
from gapsmith.store.database import Connection, Database

log = structlog.get_logger()

CATCH_UP_EVERY_S = 5.0
SEARCH_EVERY_S = 600.0  # through the whole outbox, which is long; in between only through what is young
POLL_S = 0.5  # of one question to the broker
JOINING_S = 10.0  # for so long it is asked all the time, to become a member of the group
LOST_AFTER_S = 10.0  # an event that Kafka has not delivered by then is taken from the outbox
MOST_TRIES = 3
MOST_LETTERS = 100  # dead letters of a consumer in a minute; more are only counted in the log
MOST_QUOTED = 2000  # characters of a message in a dead letter

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
        self._letters: list[float] = []  # when the last ones were written

    def run(self, stop: StopFlag) -> None:
        """Consume until told to stop. Outages are waited out; meanwhile events come out of Postgres.

        Asking the broker takes processor time from it and from here. So it is asked while there is something, and when
        Postgres notifies that events were stored or published; else only now and then.
        """
        caught_up = searched = -inf
        lost_after = 0.0  # at the start everything that was missed
        while not stop.is_set():
            try:
                with ExitStack() as held:
                    self.subscribe()
                    news = held.enter_context(outbox.news(self.database.url, outbox.CHANNEL, outbox.PUBLISHED))
                    consumer: Consumer | None = None
                    records: list[Record] = []
                    joined_by = time.monotonic() + JOINING_S
                    while not stop.is_set():
                        if time.monotonic() - caught_up > news.interval_s(CATCH_UP_EVERY_S):
                            everything = time.monotonic() - searched > SEARCH_EVERY_S
                            found = self.catch_up(lost_after, None if everything else 2 * SEARCH_EVERY_S)
                            caught_up, lost_after = time.monotonic(), LOST_AFTER_S
                            if everything and found < outbox.MOST_UNHANDLED:  # or there are more
                                searched = caught_up
                        if consumer is None:
                            consumer = Consumer(self.settings, self.consumer, self.topics)
                            held.callback(consumer.close)
                        if not records and time.monotonic() > joined_by:
                            told = news.wait(self.settings.poll_interval_s, stop)
                            if told == {outbox.CHANNEL} or stop.is_set():  # the broker does not have it yet
                                continue
                        records = list(consumer.poll(POLL_S))
                        if records:
                            self.handle(records)
                            consumer.commit()
            except (UnavailableError, psycopg.Error) as error:
                log.warning("inlet waits", reason=str(error))
                stop.wait(1.0)

    def subscribe(self) -> None:
        """Have the events that this consumer handles kept until it has."""
        with self.database.transaction() as connection:
            inbox.subscribe(connection, self.consumer, self.topics)

    def catch_up(self, older_than_s: float, within_s: float | None = None) -> int:
        """Handle events that this consumer never got; returns how many."""
        with self.database.transaction() as connection:
            missed = outbox.unhandled(connection, self.consumer, self.topics, older_than_s, within_s)
        for event in missed:
            self._deliver(event.envelope)
        return len(missed)

    def handle(self, records: Sequence[Record]) -> None:
        """Handle messages; those of no event, and poisonous ones, go to the dead letters, and the loop goes on."""
        named: dict[UUID, bytes] = {}
        for record in records:
            try:
                named.setdefault(Notice.parse(record.value), record.value)
            except InputError as error:
                self._bury(record.value, str(error))
        with self.database.transaction() as connection:
            stored = outbox.stored(connection, list(named))
        for event_id, raw in named.items():
            if event_id in stored:
                self._deliver(stored[event_id])
            else:  # forged, or delivered once more after it was handled and forgotten
                self._bury(raw, f"no event {event_id} is stored")

    def _deliver(self, envelope: Envelope) -> None:
        if (handler := self.handlers.get(envelope.type)) is None:
            if envelope.type.rpartition(".v")[0] in {known.rpartition(".v")[0] for known in self.handlers}:
                self._refuse(envelope, f"version of {envelope.type!r} is not known here")
            return
        ids = {name: envelope.data.get(name) for name in ("campaign_id", "calculation_id")}
        with concerning(event_id=envelope.id, **ids):
            self._try(handler, envelope)

    def _try(self, handler: Handler, envelope: Envelope) -> None:
        for attempt in range(1, MOST_TRIES + 1):
            try:
                event = envelope.event()
                with self.database.transaction() as connection:
                    if inbox.take(connection, envelope.id, self.consumer):
                        handler.handle(connection, envelope.id, event)
                self.on_handled()
                return
            except InputError as error:
                self._refuse(envelope, str(error))
                return
            except UnavailableError:
                raise
            except Exception as error:
                log.exception("event could not be handled", type=envelope.type, attempt=attempt)
                if attempt == MOST_TRIES:
                    self._refuse(envelope, f"{type(error).__name__}: {error}")
                else:
                    time.sleep(0.1 * attempt)

    def _refuse(self, envelope: Envelope, reason: str) -> None:
        self._bury(envelope.model_dump_json().encode(), reason)
        with self.database.transaction() as connection:
            inbox.refuse(connection, envelope.id, self.consumer, reason)

    def _bury(self, raw: bytes, reason: str) -> None:
        log.error("dead letter", reason=reason)
        now = time.monotonic()
        self._letters = [when for when in self._letters if now - when < 60.0]
        if len(self._letters) >= MOST_LETTERS:
            return
        self._letters.append(now)
        quoted = raw[:MOST_QUOTED].decode(errors="replace")
        letter = {"consumer": self.consumer, "reason": reason[:MOST_QUOTED], "message": quoted}
        producer = Producer(self.settings)
        try:
            producer.send([Record(DEAD_LETTER_TOPIC, self.consumer.encode(), json.dumps(letter).encode())])
        finally:
            producer.close()
