"""Tasks of which no two with something in common may run at a time."""

import threading
import time
from uuid import UUID, uuid4

import pytest

from gapsmith.store import tasks
from gapsmith.store.database import Connection, Database
from gapsmith.store.tasks import Task

pytestmark = pytest.mark.timeout(60)


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
    other.join(30)
    assert found == [None]
