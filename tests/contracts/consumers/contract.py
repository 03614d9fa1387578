"""What every service must keep that handles events: one that comes twice does nothing the second time."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

import pytest

from gapsmith.bus.inlet import Inlet, on
from gapsmith.bus.kafka import Record
from gapsmith.bus.service import Service
from gapsmith.core.messages import Event
from gapsmith.core.settings import Settings
from gapsmith.store import outbox
from gapsmith.store.database import Connection, Database


def stored(database: Database) -> dict[str, list[str]]:
    """Everything in a database, by table."""
    with database.transaction() as connection:
        tables = connection.execute(
            "SELECT table_name AS name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        ).fetchall()
        return {
            table["name"]: sorted(
                json.dumps(row["content"], sort_keys=True)
                for row in connection.execute(f'SELECT to_jsonb(t) AS content FROM "{table["name"]}" t')
            )
            for table in tables
        }


class ConsumerContract:
    """Inherit it, name the service and its events, and store what they tell of."""

    service: type[Service]
    handled: Sequence[type[Event]]
    writes: ClassVar[bool] = True  # False: its handlers only remember what ``work`` does next

    def world(self, database: Database) -> Sequence[Event]:
        """Fill an empty database; returns an event of each class, with something to do for each."""
        raise NotImplementedError

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Each test that asks for ``kind`` runs once for each class of events."""
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", cls.handled, ids=lambda kind: kind.__name__)

    @pytest.fixture
    def made(self, database: Database, postgres_url: str, tmp_path: Path) -> Service:
        """The service, which is not running."""
        return self.service(Settings(home=tmp_path, postgres_url=postgres_url), database)

    @pytest.fixture
    def events(self, database: Database) -> Mapping[type[Event], Event]:
        """What there is to tell."""
        return {type(event): event for event in self.world(database)}

    def test_these_are_its_events(self, made: Service, events: Mapping[type[Event], Event]) -> None:
        assert [one.event for one in made.handlers()] == list(self.handled)
        assert set(events) == set(self.handled)

    def test_an_event_that_is_delivered_twice_is_handled_once(
        self, made: Service, database: Database, events: Mapping[type[Event], Event], kind: type[Event]
    ) -> None:
        calls: list[tuple[UUID, Event]] = []
        (handler,) = (one for one in made.handlers() if one.event is kind)

        def handle(connection: Connection, event_id: UUID, event: Event) -> None:
            calls.append((event_id, event))
            handler.handle(connection, event_id, event)

        inlet = Inlet(made.settings, database, made.name, [on(kind, handle)], made.wake.set)
        inlet.subscribe()
        with database.transaction() as connection:
            event_id = outbox.emit(connection, events[kind], source="test")
            (row,) = connection.execute("SELECT envelope FROM outbox WHERE id = %s", (event_id,)).fetchall()
        record = Record(kind.TOPIC, None, json.dumps(row["envelope"]).encode())
        inlet.handle([record])
        assert calls == [(event_id, events[kind])]
        assert made.wake.is_set()
        once = stored(database)
        inlet.handle([record])
        assert calls == [(event_id, events[kind])]
        assert stored(database) == once

    def test_a_handler_that_runs_again_changes_nothing(
        self, made: Service, database: Database, events: Mapping[type[Event], Event], kind: type[Event]
    ) -> None:
        (handler,) = (one for one in made.handlers() if one.event is kind)
        event_id = uuid4()
        before = stored(database)
        with database.transaction() as connection:
            handler.handle(connection, event_id, events[kind])
        once = stored(database)
        assert (once != before) is self.writes
        with database.transaction() as connection:
            handler.handle(connection, event_id, events[kind])
        assert stored(database) == once
