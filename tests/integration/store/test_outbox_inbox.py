"""Outbox to inbox, on a real Postgres and a real broker: exactly once, whatever dies in between."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from uuid import UUID, uuid4

import pytest
import structlog

from gapsmith.bus.inlet import Inlet, on
from gapsmith.bus.kafka import Consumer, Producer, Record
from gapsmith.bus.relay import prune, publish_waiting
from gapsmith.core.errors import InputError
from gapsmith.core.messages import DEAD_LETTER_TOPIC, CalculationFinished, Envelope
from gapsmith.core.settings import Settings
from gapsmith.core.stopping import StopFlag
from gapsmith.store import outbox
from gapsmith.store.database import Connection, Database
from gapsmith.store.health import letters

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.timeout(600)]

# A consumer whose handler counts in the database and dies hard in the middle of some transactions.
CONSUMER = """
import os, sys
from gapsmith.bus.inlet import Inlet, on
from gapsmith.core.messages import CalculationFinished
from gapsmith.core.settings import Settings
from gapsmith.core.stopping import StopFlag
from gapsmith.store.database import Database
settings = Settings()
database = Database.from_settings(settings)
seen = 0
def handler(connection, event_id, event):
    global seen
    connection.execute("INSERT INTO handled (event_id) VALUES (%s)", (event_id,))
    seen += 1
    if seen == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
Inlet(settings, database, "counting", [on(CalculationFinished, handler)], lambda: None).run(StopFlag())
"""


def emit(database: Database, number: int) -> list[UUID]:
    ids = []
    for _ in range(number):
        with database.transaction() as connection:
            event = CalculationFinished(calculation_id=uuid4(), state="done")
            ids.append(outbox.emit(connection, event, source="test"))
    return ids


def test_a_rolled_back_change_tells_nobody(database: Database) -> None:
    event = CalculationFinished(calculation_id=uuid4(), state="done")

    def change_and_fail() -> None:
        with database.transaction() as connection:
            outbox.emit(connection, event, source="test")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) AS n FROM outbox").fetchone() == {"n": 0}


def test_every_event_is_handled_once_though_consumers_are_killed(database: Database, settings: Settings) -> None:
    with database.transaction() as connection:
        connection.execute("CREATE TABLE handled (event_id uuid)")
    ids = emit(database, 40)
    producer = Producer(settings)
    while publish_waiting(database, producer):
        pass
    # published a second time, as after a crash between publishing and marking
    with database.transaction() as connection:
        connection.execute("UPDATE outbox SET published_at = NULL")
    while publish_waiting(database, producer):
        pass
    producer.close()
    environment = {**os.environ, **service_environment(settings)}
    for dies_at in (7, 11, 0):
        process = subprocess.Popen([sys.executable, "-c", CONSUMER, str(dies_at)], env=environment)
        try:
            wait_for(lambda p=process, d=dies_at: p.poll() is not None if d else handled(database) == 40)
        finally:
            process.kill()
            process.wait(120)
    with database.transaction() as connection:
        rows = connection.execute("SELECT event_id FROM handled").fetchall()
    assert Counter(row["event_id"] for row in rows) == Counter(ids)


def test_what_the_broker_lost_comes_out_of_the_outbox(database: Database, settings: Settings) -> None:
    ids = emit(database, 5)
    with database.transaction() as connection:
        connection.execute("UPDATE outbox SET published_at = now()")  # as if published to a broker that then forgot
    got: list[UUID] = []
    logged: list[dict[str, str]] = []

    def handler(connection: Connection, event_id: UUID, event: CalculationFinished) -> None:
        got.append(event_id)
        logged.append(structlog.contextvars.get_contextvars())

    inlet = Inlet(settings, database, "late", [on(CalculationFinished, handler)], lambda: None)
    assert inlet.catch_up(older_than_s=0.0) == 5
    assert inlet.catch_up(older_than_s=0.0) == 0
    assert got == ids
    assert [line["event_id"] for line in logged] == [str(event_id) for event_id in ids]
    assert len({line["calculation_id"] for line in logged}) == 5
    assert all("campaign_id" not in line for line in logged)  # the calculations belong to none
    assert not structlog.contextvars.get_contextvars()


def test_poison_goes_to_the_dead_letters_and_the_loop_goes_on(database: Database, settings: Settings) -> None:
    handled_ids: list[UUID] = []

    def handler(connection: Connection, event_id: UUID, event: CalculationFinished) -> None:
        if event.state == "failed":
            raise ValueError("cannot be handled, ever")
        handled_ids.append(event_id)

    with database.transaction() as connection:
        bad = CalculationFinished(calculation_id=uuid4(), state="failed")
        bad_id = outbox.emit(connection, bad, source="test")
    (good_id,) = emit(database, 1)
    producer = Producer(settings)
    producer.send([Record(CalculationFinished.TOPIC, b"k", f"this is no envelope {bad_id}".encode())])
    publish_waiting(database, producer)
    producer.close()
    inlet = Inlet(settings, database, f"poisoned-{bad_id}", [on(CalculationFinished, handler)], lambda: None)
    stop = StopFlag()
    thread = threading.Thread(target=inlet.run, args=(stop,))
    thread.start()
    try:
        wait_for(lambda: good_id in handled_ids)
        wait_for(lambda: len(dead_letters(settings, str(bad_id))) >= 2)
    finally:
        stop.set()
        thread.join(120)
    with database.transaction() as connection:
        row = connection.execute("SELECT error FROM inbox WHERE event_id = %s", (bad_id,)).fetchone()
    assert row is not None
    assert "cannot be handled" in row["error"]


def test_old_events_are_forgotten_once_all_who_want_them_have_handled_them(
    database: Database, settings: Settings
) -> None:
    def handler(connection: Connection, event_id: UUID, event: CalculationFinished) -> None:
        got.append(event_id)
        if event_id == poisoned:
            raise InputError("not understood")

    got: list[UUID] = []
    first, second = (
        Inlet(settings, database, name, [on(CalculationFinished, handler)], lambda: None)
        for name in ("first", "second")
    )
    first.subscribe()
    second.subscribe()
    *ids, poisoned, unpublished = emit(database, 5)
    messages = {one.id: one.envelope for one in old_events(database, first)}
    with database.transaction() as connection:
        outbox.mark_published(connection, [*ids, poisoned])
    first.catch_up(0.0)
    assert prune(database, 0.0) == 0  # the second has not handled any
    second.catch_up(0.0)
    assert prune(database, 1.0) == 0  # they are not old
    assert prune(database, 0.0) == len(ids)
    assert {one.id for one in old_events(database, first)} == {poisoned, unpublished}
    with database.transaction() as connection:
        left = {row["event_id"] for row in connection.execute("SELECT event_id FROM inbox")}
        assert [letter.event_id for letter in letters(connection)] == [poisoned, poisoned]
    assert left == {poisoned, unpublished}
    handled_before = len(got)
    for event_id in ids:  # a broker that lost its offsets delivers them once more
        first.handle([Record(CalculationFinished.TOPIC, None, messages[event_id].model_dump_json().encode())])
    assert len(got) == handled_before


def test_a_message_is_only_a_notice_of_what_stands_in_the_outbox(database: Database, settings: Settings) -> None:
    """A forged count of 2e9 drove the generator to 14 GB."""
    got: list[tuple[UUID, CalculationFinished]] = []

    def handler(connection: Connection, event_id: UUID, event: CalculationFinished) -> None:
        got.append((event_id, event))

    inlet = Inlet(settings, database, f"forged-{uuid4()}", [on(CalculationFinished, handler)], lambda: None)
    true = CalculationFinished(calculation_id=uuid4(), state="done")
    with database.transaction() as connection:
        known = outbox.emit(connection, true, source="test")
    lie = CalculationFinished(calculation_id=uuid4(), state="done")
    unknown = Envelope.wrap(lie, source="nobody")
    other = unknown.model_copy(
        update={"id": known, "type": "gapsmith.generate.requested.v1", "data": {"count": 2 * 10**9}}
    )
    forged = [unknown, unknown.model_copy(update={"id": known}), other]
    inlet.handle([Record(CalculationFinished.TOPIC, None, one.model_dump_json().encode()) for one in forged])
    assert got == [(known, true)]
    assert any(b"is stored" in letter for letter in dead_letters(settings, str(unknown.id), 1))


@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"id": ' + b"9" * 100_000 + b"}", b"\xff" * 1000, b"\0", b'{"id": "\\ud800"}']
)
def test_messages_of_any_bytes_are_buried_and_their_letters_are_short(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, raw: bytes
) -> None:
    letters: list[Record] = []
    monkeypatch.setattr(Producer, "__init__", lambda *_: None)
    monkeypatch.setattr(Producer, "close", lambda *_: None)
    monkeypatch.setattr(Producer, "send", lambda _, records: letters.extend(records))
    inlet = Inlet(settings, database, "buries", [], lambda: None)
    for _ in range(20):
        inlet.handle([Record(CalculationFinished.TOPIC, None, raw)] * 50)
    assert len(letters) == 100
    assert all(len(letter.value) < 20_000 for letter in letters)


def old_events(database: Database, inlet: Inlet) -> list[outbox.Outgoing]:
    with database.transaction() as connection:
        return outbox.unhandled(connection, "nobody", inlet.topics, 0.0)


def dead_letters(settings: Settings, mark: str, wanted: int = 2) -> list[bytes]:
    consumer = Consumer(settings, f"reader-{uuid4()}", [DEAD_LETTER_TOPIC])
    found: list[bytes] = []
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and len(found) < wanted:
            found += [record.value for record in consumer.poll(0.5) if mark.encode() in record.value]
    finally:
        consumer.close()
    return found


def handled(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("SELECT count(DISTINCT event_id) AS n FROM handled").fetchone()
    return int(row["n"]) if row else 0


def wait_for(condition: object, within_s: float = 300.0) -> None:
    assert callable(condition)
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def service_environment(settings: Settings) -> dict[str, str]:
    assert settings.postgres_url
    assert settings.kafka_bootstrap
    return {
        "GAPSMITH_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "GAPSMITH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
    }
