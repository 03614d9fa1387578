"""Workers killed at every stage and at random moments, on both brokers: nothing is lost, nothing is computed twice."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import pytest

from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Molecule
from gapsmith.core.levels import GENERATED, shipped
from gapsmith.core.settings import Settings
from gapsmith.store import calculations, candidates, jobs
from gapsmith.store.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = 25  # on each broker
WAITING = 10
WORKERS = 3
PATIENCE_S = 400.0
SERVICE = "from gapsmith.core.settings import settings; from gapsmith.dft_queue.service import main; main(settings())"
# Every worker is a host of its own, as in an allocation. A stage, if one is named, is where it kills itself.
WORKER = """
import os, signal, socket, sys, types
host, stage = sys.argv[1:]
socket.gethostname = lambda: host
from gapsmith.core.settings import settings
from gapsmith.dft_queue import runner, worker
from gapsmith.store import calculations
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if stage == "before the lease":
    calculations.claim = die
if stage == "during the computation":
    runner.connection = types.SimpleNamespace(wait=die)  # with which it waits for its child
if stage == "after the computation, before the commit":
    worker.store_output = die
if stage == "after the commit, before the acknowledgement":
    store = worker.store_output
    worker.store_output = lambda *arguments: store(*arguments) and die()
worker.main(settings())
"""
STAGES = [
    "before the lease",
    "during the computation",
    "after the computation, before the commit",
    "after the commit, before the acknowledgement",
]


@dataclass
class Cluster:
    """The queue's keeper and workers on hosts of their own."""

    settings: Settings
    database: Database
    broker: str
    started: int = 0
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """Of every process; leases are short, so that dead workers are noticed at once."""
        assert self.settings.postgres_url is not None
        return {
            **os.environ,
            "GAPSMITH_HOME": str(self.settings.home),
            "GAPSMITH_POSTGRES_URL": self.settings.postgres_url.get_secret_value(),
            "GAPSMITH_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap or "",
            "GAPSMITH_CELERY_BROKER_URL": self.broker,
            "GAPSMITH_DFT_WORKERS": "1",
            "GAPSMITH_LEASE_S": "10",
            "GAPSMITH_HEARTBEAT_S": "0.5",
            "GAPSMITH_POLL_INTERVAL_S": "0.2",
            "OMP_NUM_THREADS": "1",
        }

    def keeper(self) -> None:
        """Start the service."""
        self.others.append(subprocess.Popen([sys.executable, "-c", SERVICE], env=self.environment()))

    def worker(self, stage: str = "") -> str:
        """Start one; the name of its host."""
        self.started += 1
        host = f"host-{self.started}"
        self.workers[host] = subprocess.Popen([sys.executable, "-c", WORKER, host, stage], env=self.environment())
        return host

    def request(self, number: int) -> UUID:
        """A calculation that nobody asked for before: hydrogen at some length, by DFT, or water relaxed with xTB."""
        if number % 2:
            molecule, level = _molecule([1, 1], [[0, 0, 0], [0, 0, 0.7 + 0.002 * number]]), shipped()["single-point"]
        else:
            bent: list[list[float]] = [[0, 0, 0], [0.93, 0, 0.1 + 0.001 * number], [-0.1, 0, 1.02]]
            molecule, level = _molecule([8, 1, 1], bent), shipped()["xtb"]
        with self.database.transaction() as connection:
            conformer = candidates.add_conformer(connection, molecule, method=GENERATED, molecule_id=None)
            return calculations.request(
                connection,
                content_hash=content_hash(molecule.numbers, molecule.coordinates, 0, 0, level, GENERATED),
                level=level,
                conformer_id=conformer,
                campaign_id=None,
            ).id

    def rows(self, query: str) -> list[dict[str, object]]:
        """Of the database."""
        with self.database.transaction() as connection:
            return connection.execute(query).fetchall()

    def count(self, query: str) -> int:
        """A single number."""
        (row,) = self.rows(f"SELECT count(*) AS n FROM {query}")
        return int(str(row["n"]))

    def wait(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, self.rows(
                "SELECT state, failure_reason, count(*) FROM calculations GROUP BY 1, 2"
            )
            time.sleep(0.1)

    def check(self, asked: int, lost: int | None = None) -> None:
        """Every calculation was done once, told of once, and nothing is left of the attempts that were lost."""
        assert self.count("calculations WHERE state = 'done'") == asked
        assert self.count("attempts WHERE outcome = 'done'") == asked
        later = (
            "SELECT 1 FROM attempts a JOIN attempts d USING (calculation_id) WHERE d.outcome = 'done' AND a.id > d.id"
        )
        assert not self.rows(later)
        losses = self.count("attempts WHERE outcome = 'lost'")
        assert self.count("attempts") == asked + losses
        if lost is not None:
            assert losses == lost
        told = self.rows("SELECT envelope FROM outbox WHERE topic = 'gapsmith.calculation.finished'")
        data = [row["envelope"]["data"] for row in told]  # type: ignore[index]  # JSON
        ids = [one["calculation_id"] for one in data if one["state"] == "done"]
        assert len(ids) == len(set(ids)) == asked
        relaxed = self.count("calculations WHERE result_conformer_id IS NOT NULL")
        assert self.count("conformers") == asked + relaxed

    def close(self) -> None:
        """End everything."""
        for process in [*self.workers.values(), *self.others]:
            process.kill()
            process.wait(120)


def _molecule(numbers: list[int], coordinates: list[list[float]]) -> Molecule:
    return Molecule(
        np.array(numbers, dtype=np.uint8),
        np.array(coordinates),
        np.zeros(len(numbers), dtype=np.int8),
        np.zeros((0, 3), dtype=np.int16),
    )


@pytest.fixture
def cluster(settings: Settings, database: Database, broker_url: str) -> Iterator[Cluster]:
    """Without workers; on each kind of broker."""
    opened = Cluster(settings, database, broker_url)
    yield opened
    opened.close()


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_killed_at_a_stage(cluster: Cluster, stage: str) -> None:
    cluster.keeper()
    cluster.request(1)
    cluster.request(2)
    first = cluster.workers[cluster.worker(stage)]
    first.wait(PATIENCE_S)
    done = {"after the commit, before the acknowledgement": 1}.get(stage, 0)
    assert cluster.count("attempts WHERE outcome = 'done'") == done
    cluster.worker()
    cluster.wait(lambda: cluster.count("calculations WHERE state = 'done'") == 2)
    in_vain = stage in ("during the computation", "after the computation, before the commit")
    cluster.check(2, lost=int(in_vain))


def test_kills_at_random_moments(cluster: Cluster) -> None:
    """Of workers that have begun to work, while the queue never runs dry."""
    moments = random.Random(20261123)
    cluster.keeper()
    for _ in range(WORKERS):
        cluster.worker()
    asked = 0
    for _ in range(KILLS):
        while cluster.count("calculations WHERE state = 'queued'") < WAITING:
            cluster.request(asked)
            asked += 1
        cluster.wait(lambda: bool(at_work(cluster)))
        time.sleep(moments.uniform(0.0, 1.0))
        victim = cluster.workers.pop(moments.choice(at_work(cluster)))
        victim.kill()
        victim.wait(120)
        cluster.worker()
    ended = "calculations WHERE state IN ('done', 'failed')"
    cluster.wait(lambda: cluster.count(ended) == asked)
    with cluster.database.transaction() as connection:  # three kills of one calculation look like its own fault
        unlucky = connection.execute(
            "SELECT id, failure_class, losses FROM calculations WHERE state = 'failed'"
        ).fetchall()
        assert all((row["failure_class"], row["losses"]) == ("poison", 3) for row in unlucky)
        if unlucky:
            again = jobs.retry(connection, jobs.JobFilter(ids=tuple(row["id"] for row in unlucky)))
            assert len(again) == len(unlucky)
    cluster.wait(lambda: cluster.count("calculations WHERE state = 'done'") == asked)
    cluster.check(asked)
    assert cluster.count("attempts WHERE outcome = 'lost'") >= KILLS // 5  # else the kills met nothing but idle workers


def at_work(cluster: Cluster) -> list[str]:
    """Hosts of workers that have had a calculation."""
    return sorted({str(row["host"]) for row in cluster.rows("SELECT host FROM attempts")} & set(cluster.workers))
