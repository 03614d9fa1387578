"""Servers and disks that fail under a running calculation: it is done in the end, once, and says what happened."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Molecule
from gapsmith.core.levels import GENERATED, LevelOfTheory, shipped
from gapsmith.core.settings import Settings
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import calculations, candidates
from gapsmith.store.database import Database
from gapsmith.store.migrate import migrate

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.timeout(600)]

PATIENCE_S = 240.0
START = "from gapsmith.core.settings import settings; from gapsmith.dft_queue.{} import main; main(settings())"
FORMAMIDE = Molecule(
    np.array([6, 8, 7, 1, 1, 1], dtype=np.uint8),
    np.array(
        [[-0.16, 0.38, 0], [-1.19, -0.25, 0], [1.08, -0.16, 0], [-0.13, 1.49, 0], [1.19, -1.16, 0], [1.90, 0.42, 0]]
    ),
    np.zeros(6, dtype=np.int8),
    np.zeros((0, 3), dtype=np.int16),
)


class Machine:
    """Servers, the queue's keeper and one worker, all of this test alone."""

    def __init__(self, home: Path) -> None:
        self.stack = EmbeddedStack(home)
        self.settings = self.stack.up().apply(Settings(home=home))
        assert self.settings.postgres_url is not None
        self.url = self.settings.postgres_url.get_secret_value()
        migrate(self.url)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, **extra: str) -> None:
        """The service and a worker."""
        assert self.settings.celery_broker_url is not None
        environment = {
            **os.environ,
            "GAPSMITH_HOME": str(self.settings.home),
            "GAPSMITH_POSTGRES_URL": self.url,
            "GAPSMITH_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap or "",
            "GAPSMITH_CELERY_BROKER_URL": self.settings.celery_broker_url.get_secret_value(),
            "GAPSMITH_DFT_WORKERS": "1",
            "GAPSMITH_LEASE_S": "300",
            "GAPSMITH_HEARTBEAT_S": "0.5",
            "OMP_NUM_THREADS": "1",
            **extra,
        }
        for module in ("service", "worker"):
            self.processes.append(subprocess.Popen([sys.executable, "-c", START.format(module)], env=environment))

    def request(self, level: LevelOfTheory) -> UUID:
        """Formamide."""
        identity = content_hash(FORMAMIDE.numbers, FORMAMIDE.coordinates, 0, 0, level, GENERATED)
        with Database(self.url) as database, database.transaction() as connection:
            conformer = candidates.add_conformer(connection, FORMAMIDE, method=GENERATED, molecule_id=None)
            return calculations.request(
                connection, content_hash=identity, level=level, conformer_id=conformer, campaign_id=None
            ).id

    def rows(self, query: str) -> list[dict[str, object]]:
        """Of the database; none while it is away."""
        try:
            with psycopg.connect(self.url, row_factory=dict_row, connect_timeout=60) as connection:
                return connection.execute(query).fetchall()
        except psycopg.OperationalError:
            return []

    def computes(self) -> bool:
        """Whether the worker has a calculation's process."""
        worker = psutil.Process(self.processes[-1].pid)
        for child in worker.children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if child.children():
                    return True
        return False

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until something is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.rows("SELECT state, failure_reason FROM calculations")
            time.sleep(0.1)

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
            process.wait(120)
        self.stack.down()


@pytest.fixture
def machine(service_folder: Path) -> Iterator[Machine]:
    """Without service and worker."""
    home = service_folder / uuid4().hex[:8]
    opened = Machine(home)
    yield opened
    opened.close()
    shutil.rmtree(home, ignore_errors=True)


def test_a_postgres_that_is_killed_and_comes_back_costs_nothing(machine: Machine) -> None:
    machine.start()
    calculation_id = machine.request(shipped()["single-point"])
    machine.wait(machine.computes)
    (pid,) = [server.pid for server in machine.stack.status() if server.name == "postgres"]
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        with suppress(psutil.NoSuchProcess):  # a child that ended by itself, or with its parent
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=120)
    machine.wait(lambda: not machine.computes())  # it is ready, and has nowhere to go
    assert machine.stack.up().postgres_url == machine.url
    machine.wait(lambda: machine.rows("SELECT 1 FROM calculations WHERE state = 'done'") != [])
    (row,) = machine.rows("SELECT id, attempts, losses FROM calculations")
    assert row == {"id": calculation_id, "attempts": 1, "losses": 0}
    assert [row["outcome"] for row in machine.rows("SELECT outcome FROM attempts")] == ["done"]
    assert all(process.poll() is None for process in machine.processes)


def test_a_disk_that_is_full_while_a_cube_is_written(machine: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        machine.start(TMPDIR=str(disk))
        machine.request(shipped()["single-point"].model_copy(update={"properties": ("orbitals",)}))
        machine.wait(lambda: machine.rows("SELECT 1 FROM calculations WHERE transients > 0") != [])
        (attempt, *_) = machine.rows("SELECT outcome, failure_class, reason FROM attempts ORDER BY id")
        assert (attempt["outcome"], attempt["failure_class"]) == ("failed", "transient")
        assert "No space left on device" in str(attempt["reason"])
        assert not machine.rows("SELECT 1 FROM calculation_files")
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        machine.wait(lambda: machine.rows("SELECT 1 FROM calculations WHERE state = 'done'") != [])
        names = [row["name"] for row in machine.rows("SELECT name FROM calculation_files ORDER BY name")]
        assert names == ["homo.cube", "lumo.cube", "orbitals.molden"]
    finally:
        for process in machine.processes:
            process.kill()
            process.wait(120)
        subprocess.run(["umount", "-l", str(disk)], check=True)
