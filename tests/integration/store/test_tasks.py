"""Tasks of which no two with something in common may run at a time."""

import threading
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gapsmith.bus.inlet import Handler
from gapsmith.bus.service import Commit, Interrupted, TaskService
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.settings import Settings
from gapsmith.store import campaigns, tasks
from gapsmith.store.database import Connection, Database
from gapsmith.store.tasks import Task

pytestmark = pytest.mark.timeout(600)


def add(database: Database, kind: str) -> UUID:
    task_id = uuid4()
    with database.transaction() as connection:
        tasks.add(connection, task_id, service="trainer", kind="train", payload={"kind": kind})
    return task_id


def claim(connection: Connection, owner: str, one_per: str | None = "kind", lease_s: float = 60.0) -> Task | None:
    return tasks.claim(connection, "trainer", owner, lease_s, one_per=one_per)


def claimed(database: Database, owner: str, one_per: str | None = "kind", lease_s: float = 60.0) -> UUID | None:
    with database.transaction() as connection:
        task = claim(connection, owner, one_per, lease_s)
    return None if task is None else task.id


def test_the_second_of_a_kind_waits_and_another_kind_does_not(database: Database) -> None:
    first, second, other = add(database, "surrogate"), add(database, "surrogate"), add(database, "generator")
    assert claimed(database, "a") == first
    assert claimed(database, "b") == other
    assert claimed(database, "c") is None
    with database.transaction() as connection:
        tasks.finish(connection, first, "a")
    assert claimed(database, "c") == second


def test_a_dead_one_keeps_nobody_waiting(database: Database) -> None:
    first, second = add(database, "surrogate"), add(database, "surrogate")
    assert claimed(database, "a", lease_s=0.0) == first
    assert claimed(database, "b") == first  # taken over
    assert claimed(database, "c") is None
    with database.transaction() as connection:
        tasks.fail(connection, first, "b", "crashed")
    assert claimed(database, "c") == first
    assert claimed(database, "d") is None
    assert claimed(database, "d", one_per=None) == second  # who does not ask for it gets any


def test_two_who_claim_at_once_do_not_both_get_one(database: Database) -> None:
    add(database, "surrogate")
    add(database, "surrogate")
    found: list[UUID | None] = []
    other = threading.Thread(target=lambda: found.append(claimed(database, "b")))
    with database.transaction() as connection:
        assert claim(connection, "a") is not None
        other.start()
        time.sleep(0.5)  # it looks while the first claim is not committed
        assert found == []
    other.join(120)
    assert found == [None]


class Patient(TaskService):
    """Works until it is interrupted."""

    name = "generator"

    def handlers(self) -> list[Handler]:
        return []

    def perform(self, task: Task) -> Commit:
        self.began.set()
        assert self.interrupt.wait(120)
        raise Interrupted

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(settings, database)
        self.began = threading.Event()


def test_work_for_a_campaign_that_ends_is_interrupted_at_the_next_heartbeat(database: Database, tmp_path: Path) -> None:
    service = Patient(Settings(home=tmp_path, postgres_url=database.url), database)
    config = parse_campaign({"name": "short", "target": {"value": 4.0}})
    with database.transaction() as connection:
        campaign = campaigns.create(connection, config, source="test")
        task_id = uuid4()
        tasks.add(connection, task_id, service="generator", kind="generate", payload={}, campaign_id=campaign.id)
    working = threading.Thread(target=service.work)
    working.start()
    assert service.began.wait(120)
    with database.transaction() as connection:
        service.beat(connection)
    assert not service.interrupt.is_set()  # it holds its lease
    with database.transaction() as connection:
        campaigns.set_state(connection, campaign.id, CampaignState.STOPPED, source="test")
    with database.transaction() as connection:
        service.beat(connection)
    working.join(120)
    assert not working.is_alive()
    assert not service.stopping.is_set()
    with database.transaction() as connection:
        row = connection.execute("SELECT state FROM tasks WHERE id = %s", (task_id,)).fetchone()
    assert row == {"state": "cancelled"}
