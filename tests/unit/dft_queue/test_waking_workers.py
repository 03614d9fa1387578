"""Workers are woken by ``work``, after the transaction of the handler; what a broker does not take is left to the sweep."""

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from gapsmith.core.errors import UnavailableError
from gapsmith.core.messages import CalculationRequested
from gapsmith.core.settings import Settings
from gapsmith.dft_queue import service
from gapsmith.dft_queue.service import DftQueueService
from gapsmith.store.database import Connection, Database

NO_DATABASE = cast(Database, None)  # and no connection: a handler that used one would fail
NO_CONNECTION = cast(Connection, None)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[UUID]]]:
    """Queues with the calculations that were rung for."""
    calls: list[tuple[str, list[UUID]]] = []

    def ring(app: Any, queue: str, ids: Iterable[UUID]) -> None:
        calls.append((queue, list(ids)))
        if queue == "xtb":
            raise UnavailableError("the broker is away")

    monkeypatch.setattr(service, "ring", ring)
    return calls


def test_a_handler_wakes_nobody_and_work_rings_once_for_each_queue(rung: list[tuple[str, list[UUID]]]) -> None:
    keeper = DftQueueService(Settings(celery_broker_url="redis://127.0.0.1:1/0"), NO_DATABASE)
    ids = [uuid4() for _ in range(3)]
    for calculation_id, queue in zip(ids, ("dft", "xtb", "dft"), strict=True):
        event = CalculationRequested(calculation_id=calculation_id, queue=queue)
        keeper.on_requested(NO_CONNECTION, uuid4(), event)
    assert not rung
    keeper.wake_workers()
    assert sorted(rung) == [("dft", [ids[0], ids[2]]), ("xtb", [ids[1]])]
    keeper.wake_workers()
    assert len(rung) == 2
