"""From a request to a result through Celery, PySCF and Postgres; and what happens to workers that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import numpy as np
import psutil
import pytest

from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Molecule
from gapsmith.core.levels import GENERATED, shipped
from gapsmith.core.settings import Settings
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import calculations, candidates
from gapsmith.store.calculations import Calculation
from gapsmith.store.database import Database

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

START = "from gapsmith.core.settings import settings; from gapsmith.dft_queue.{} import main; main(settings())"
PATIENCE_S = 240.0  # a crowded machine may take a hundred times its usual time

METHANE = Molecule(  # QM9 entry 1, gap 0.5048 hartree
    numbers=np.array([6, 1, 1, 1, 1], dtype=np.uint8),
    coordinates=np.array(
        [
            [-0.0126981359, 1.0858041578, 0.0080009958],
            [0.002150416, -0.0060313176, 0.0019761204],
            [1.0117308433, 1.4637511618, 0.0002765748],
            [-0.540815069, 1.4475266138, -0.8766437152],
            [-0.5238136345, 1.4379326443, 0.9063972942],
        ]
    ),
    charges=np.zeros(5, dtype=np.int8),
    bonds=np.array([[0, 1, 1], [0, 2, 1], [0, 3, 1], [0, 4, 1]], dtype=np.int16),
)
WATER = Molecule(  # QM9 entry 3, gap 0.3615 hartree
    numbers=np.array([8, 1, 1], dtype=np.uint8),
    coordinates=np.array(
        [
            [-0.0343604951, 0.9775395708, 0.0076015923],
            [0.0647664923, 0.0205721989, 0.0015346341],
            [0.8717903737, 1.3007924048, 0.0006931336],
        ]
    ),
    charges=np.zeros(3, dtype=np.int8),
    bonds=np.array([[0, 1, 1], [0, 2, 1]], dtype=np.int16),
)

HYDROGEN = Molecule(
    numbers=np.array([1, 1], dtype=np.uint8),
    coordinates=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]),
    charges=np.zeros(2, dtype=np.int8),
    bonds=np.array([[0, 1, 1]], dtype=np.int16),
)


@dataclass
class Queue:
    """The DFT queue of one test."""

    settings: Settings
    database: Database
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def request(
        self, molecule: Molecule, level: str = "single-point", spin: int = 0, stored: str | None = None
    ) -> UUID:
        """Ask for a calculation, as the coordinator does; ``stored`` is put in place of the coordinates."""
        identity = content_hash(molecule.numbers, molecule.coordinates, 0, spin, shipped()[level], GENERATED)
        with self.database.transaction() as connection:
            conformer = candidates.add_conformer(connection, molecule, method=GENERATED, molecule_id=None)
            if stored is not None:
                connection.execute(
                    "UPDATE conformers SET coordinates_angstrom = %s WHERE id = %s", (stored.encode(), conformer)
                )
            return calculations.request(
                connection,
                content_hash=identity,
                level=shipped()[level],
                conformer_id=conformer,
                campaign_id=None,
                spin=spin,
            ).id

    def get(self, calculation_id: UUID) -> Calculation:
        """The row as it is now."""
        with self.database.transaction() as connection:
            found = calculations.get(connection, calculation_id)
        assert found is not None
        return found

    def row(self, calculation_id: UUID) -> dict[str, Any]:
        """All columns."""
        with self.database.transaction() as connection:
            found = connection.execute("SELECT * FROM calculations WHERE id = %s", (calculation_id,)).fetchone()
        assert found is not None
        return found

    def finished_events(self) -> list[str]:
        """Calculation ids of all CalculationFinished events, in order."""
        with self.database.transaction() as connection:
            rows = connection.execute(
                "SELECT envelope FROM outbox WHERE topic = 'gapsmith.calculation.finished' ORDER BY sequence"
            ).fetchall()
        return [row["envelope"]["data"]["calculation_id"] for row in rows]

    def start(self, module: str, **extra: str) -> subprocess.Popen[bytes]:
        """Start a process: ``service`` or ``worker``."""
        settings = self.settings
        assert settings.postgres_url is not None
        assert settings.celery_broker_url is not None
        environment = {
            **os.environ,
            "GAPSMITH_HOME": str(settings.home),
            "GAPSMITH_POSTGRES_URL": settings.postgres_url.get_secret_value(),
            "GAPSMITH_KAFKA_BOOTSTRAP": settings.kafka_bootstrap or "",
            "GAPSMITH_CELERY_BROKER_URL": settings.celery_broker_url.get_secret_value(),
            "GAPSMITH_DFT_WORKERS": "1",
            "OMP_NUM_THREADS": "1",
            **extra,
        }
        process = subprocess.Popen([sys.executable, "-c", START.format(module)], env=environment)
        self.processes.append(process)
        return process

    def wait(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.1)

    def reach(self, calculation_id: UUID, *states: str) -> None:
        """Wait until a calculation is in one of some states."""
        self.wait(lambda: self.get(calculation_id).state in states)


def computing(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of the worker's calculations: children of its fork server."""
    try:
        servers = [
            c for c in psutil.Process(worker.pid).children() if any("forkserver" in word for word in c.cmdline())
        ]
        return [child for one in servers for child in one.children() if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def queue(settings: Settings, database: Database) -> Iterator[Queue]:
    """A queue without workers; what a test starts is ended with it."""
    opened = Queue(settings, database)
    yield opened
    for process in opened.processes:
        process.kill()
        process.wait(120)


QUICK = {"GAPSMITH_LEASE_S": "10", "GAPSMITH_HEARTBEAT_S": "0.5", "GAPSMITH_POLL_INTERVAL_S": "0.2"}


def test_water_and_methane_have_their_known_gaps(queue: Queue) -> None:
    queue.start("service")
    worker = queue.start("worker")
    wanted = {queue.request(WATER): 0.3615, queue.request(METHANE): 0.5048}
    assert queue.request(WATER) in wanted
    queue.wait(lambda: all(queue.get(calculation_id).state == "done" for calculation_id in wanted))
    for calculation_id, gap_hartree in wanted.items():
        row = queue.row(calculation_id)
        assert row["gap_ev"] == pytest.approx(gap_hartree * HARTREE_TO_EV, abs=0.005)
        assert (row["attempts"], row["losses"], row["rung"]) == (1, 0, "diis")
        assert "pyscf" in row["software"]
        assert row["cpu_s"] > 0
    assert sorted(queue.finished_events()) == sorted(str(calculation_id) for calculation_id in wanted)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0


def test_a_worker_killed_in_the_middle_costs_an_attempt_and_nothing_else(queue: Queue) -> None:
    queue.start("service", **QUICK)
    first = queue.start("worker", **QUICK)
    calculation_id = queue.request(METHANE)
    queue.wait(lambda: queue.get(calculation_id).state == "running" and bool(computing(first)))
    (child,) = computing(first)
    first.kill()
    first.wait(120)
    queue.wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)  # it died with its worker
    queue.start("worker", **QUICK)
    queue.wait(lambda: queue.get(calculation_id).state == "done")
    found = queue.get(calculation_id)
    assert (found.attempts, found.losses) == (2, 1)
    assert queue.finished_events() == [str(calculation_id)]


def test_a_worker_told_to_end_gives_its_work_back(queue: Queue) -> None:
    queue.start("service", **QUICK)
    worker = queue.start("worker", **QUICK)
    calculation_id = queue.request(METHANE)
    queue.wait(lambda: queue.get(calculation_id).state == "running" and bool(computing(worker)))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0
    found = queue.get(calculation_id)
    assert (found.state, found.attempts, found.losses) == ("queued", 0, 0)


def test_what_is_cancelled_damaged_or_impossible_does_not_stop_the_worker(queue: Queue) -> None:
    queue.start("service", **QUICK)
    worker = queue.start("worker", **QUICK)
    cancelled = queue.request(METHANE)
    queue.wait(lambda: queue.get(cancelled).state == "running" and bool(computing(worker)))
    (child,) = computing(worker)
    with queue.database.transaction() as connection:
        assert calculations.cancel(connection, cancelled)
    queue.wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    damaged = queue.request(HYDROGEN, stored="xy")
    queue.wait(lambda: queue.get(damaged).state == "failed")
    assert "is damaged" in (queue.get(damaged).failure_reason or "")
    impossible = queue.request(WATER, spin=1)  # ten electrons cannot have one unpaired
    queue.wait(lambda: queue.get(impossible).state == "failed")
    assert queue.get(impossible).failure_class == "poison"
    assert "10 electrons cannot have 1 unpaired" in (queue.get(impossible).failure_reason or "")
    assert queue.get(cancelled).state == "cancelled"
    assert queue.finished_events() == [str(cancelled), str(damaged), str(impossible)]


def test_a_broker_that_dies_while_something_is_computed_wakes_the_same_worker_again(queue: Queue) -> None:
    queue.start("service", **QUICK)
    worker = queue.start("worker", **QUICK)
    assert queue.settings.postgres_url is not None
    stack = EmbeddedStack(queue.settings.home, {"postgres": queue.settings.postgres_url.get_secret_value()})
    for separation in (0.70, 0.72, 0.76, 0.78):
        stretched = replace(HYDROGEN, coordinates=HYDROGEN.coordinates * separation / 0.74)
        calculation_id = queue.request(stretched)
        queue.reach(calculation_id, "running", "done")
        (pid,) = [server.pid for server in stack.status() if server.name == "celery"]
        assert pid is not None
        psutil.Process(pid).kill()  # the message cannot be acknowledged any more
        queue.reach(calculation_id, "done")
        stack.up()
    queue.reach(queue.request(WATER), "done")
    assert worker.poll() is None


def test_a_broker_that_dies_and_forgets_everything_costs_only_time(queue: Queue) -> None:
    queue.start("service", **QUICK)
    worker = queue.start("worker", **QUICK)
    first = queue.request(WATER)
    queue.wait(lambda: queue.get(first).state == "done")
    assert queue.settings.postgres_url is not None
    stack = EmbeddedStack(queue.settings.home, {"postgres": queue.settings.postgres_url.get_secret_value()})
    (pid,) = [server.pid for server in stack.status() if server.name == "celery"]
    assert pid is not None
    psutil.Process(pid).kill()
    second = queue.request(METHANE)
    time.sleep(2.0)  # it is asked for while nobody can be woken
    again = stack.up()
    assert queue.settings.celery_broker_url is not None
    assert again.celery_broker_url == queue.settings.celery_broker_url.get_secret_value()
    queue.wait(lambda: queue.get(second).state == "done")
    assert queue.get(second).attempts == 1
    assert worker.poll() is None
