"""What a training survives: its service killed, Postgres killed, a disk that is full."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from labelled_candidates import store
from service_process import wait_for

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.messages import TrainingFinished, TrainingRequested
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.store import campaigns, models, tasks
from gapsmith.store.database import Database
from gapsmith.store.labels import Label
from gapsmith.store.migrate import migrate
from gapsmith.trainer.job import Folder, Job, Result
from gapsmith.trainer.launch import StoppedError, TrainingFailedError, launch
from gapsmith.trainer.service import model_of
from gapsmith.training.card import card_alone
from gapsmith.training.checkpoint import load_tensors, sha256

pytestmark = [pytest.mark.serial, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(900)]

NOWHERE = {"kafka": "127.0.0.1:1", "celery": "redis://127.0.0.1:1/0"}  # neither is needed to train
PATIENCE_S = 300.0
LEASE_S = 10.0  # short, so that a dead service is noticed soon


def ranks_of(folder: Path) -> list[psutil.Process]:
    """Processes that train in a folder, and what launched them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if "gapsmith.trainer.run" in line and str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


class Machine:
    """A trainer as its users start it, on a Postgres of its own, with a campaign's labels and a live model."""

    def __init__(self, home: Path, parent: Path, labels: list[Label]) -> None:
        self.home = home
        self.stack = EmbeddedStack(home, NOWHERE)
        self.url = self.stack.up().postgres_url
        migrate(self.url)
        self.database = Database(self.url, timeout_s=60.0)
        self.services: list[subprocess.Popen[bytes]] = []
        with self.database.transaction() as connection:
            config = parse_campaign({"name": "test", "target": {"value": 4.0}})
            self.campaign_id = campaigns.create(connection, config, source="test").id
            models.ensure_shipped(connection, parent, card_alone(parent))
            for age, label in enumerate(reversed(labels)):
                store(connection, self.campaign_id, label, age)

    def request(self, **fields: Any) -> UUID:
        """A training; the id of its task."""
        event = TrainingRequested(campaign_id=self.campaign_id, role="composition", labels=12, **fields)
        task_id = uuid4()
        with self.database.transaction() as connection:
            tasks.add(
                connection,
                task_id,
                service="trainer",
                kind="train",
                payload=event.model_dump(mode="json"),
                campaign_id=self.campaign_id,
            )
        return task_id

    def serve(self, step_s: float = 0.0) -> subprocess.Popen[bytes]:
        """Start the service; leases are short, so that a dead one is noticed at once."""
        variables = {
            "GAPSMITH_HOME": str(self.home),
            "GAPSMITH_POSTGRES_URL": self.url,
            "GAPSMITH_KAFKA_BOOTSTRAP": NOWHERE["kafka"],
            "GAPSMITH_LEASE_S": str(LEASE_S),
            "GAPSMITH_HEARTBEAT_S": "0.5",
            "GAPSMITH_POLL_INTERVAL_S": "0.2",
            "GAPSMITH_TRAINER_BASE_MOLECULES": "500",
            "GAPSMITH_TRAINER_LEARNING_RATE": "1e-3",
            "GAPSMITH_TRAINER_BACKEND": "torch",
            "GAPSMITH_TRAINER_NICE": "0",
            "TORCH_COMPOSITION_STEP_S": str(step_s),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "gapsmith.cli.main", "trainer", "serve"]
        with (self.home / "service.log").open("ab") as log:
            service = subprocess.Popen(command, env={**os.environ, **variables}, stderr=log)
        self.services.append(service)
        return service

    def folder(self, task_id: UUID) -> Folder:
        return Folder(self.home / "trainings" / str(task_id))

    def log(self, task_id: UUID) -> str:
        return (self.home / "logs" / f"training-{task_id}.log").read_text()

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self.database.transaction() as connection:
            return connection.execute(query, values).fetchall()

    def finished(self, task_id: UUID) -> bool:
        return self.rows("SELECT state FROM tasks WHERE id = %s", task_id) == [{"state": "done"}]

    def check(self, task_id: UUID) -> None:
        """Exactly one model came of it, judged and told of once, and its weights are whole."""
        (model,) = self.rows("SELECT id, path, sha256, state, verdict FROM models WHERE parent_id IS NOT NULL")
        assert model["id"] == model_of(task_id)
        assert sha256(Path(model["path"])) == model["sha256"]
        assert model["state"] in ("live", "rejected")
        (told,) = self.rows("SELECT envelope FROM outbox WHERE topic = %s", TrainingFinished.TOPIC)
        assert told["envelope"]["data"]["model_id"] == str(model["id"])
        assert told["envelope"]["data"]["promoted"] is (model["state"] == "live")
        promotions = self.rows("SELECT 1 FROM promotions WHERE model_id = %s", model["id"])
        assert len(promotions) == (model["state"] == "live")

    def end(self) -> None:
        for service in self.services:
            service.kill()
            service.wait(120)
        self.database.close()
        self.stack.down()


@pytest.fixture
def machine(service_folder: Path, parent: Path, labels: Callable[[int], list[Label]]) -> Iterator[Machine]:
    made = Machine(service_folder / uuid4().hex[:8], parent, labels(12))
    yield made
    made.end()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_service_takes_its_ranks_along_and_the_next_one_goes_on(machine: Machine, processes: int) -> None:
    task_id = machine.request(steps=200, processes=processes)
    folder = machine.folder(task_id)
    service = machine.serve(step_s=0.2)
    wait_for((folder.state / "state.json").is_file)  # the first save
    assert len(ranks_of(folder.path)) >= processes
    service.send_signal(signal.SIGKILL)
    service.wait(120)
    wait_for(lambda: ranks_of(folder.path) == [])
    saved = json.loads((folder.state / "state.json").read_text())["step"]
    assert 5 <= saved < 200
    assert not machine.finished(task_id)

    machine.serve()
    wait_for(lambda: machine.finished(task_id))
    machine.check(task_id)
    assert machine.log(task_id).count("step 5/200") == 1  # it was not begun again
    assert machine.rows("SELECT attempts FROM tasks WHERE id = %s", task_id) == [{"attempts": 2}]


def test_a_training_outlives_postgres(machine: Machine) -> None:
    task_id = machine.request(steps=30)
    folder = machine.folder(task_id)
    service = machine.serve(step_s=0.2)
    wait_for(folder.progress.is_file)
    (postgres,) = (server.pid for server in machine.stack.status() if server.name == "postgres")
    assert postgres is not None
    os.kill(postgres, signal.SIGKILL)
    wait_for(folder.result.is_file)  # it goes on by itself
    time.sleep(LEASE_S + 1)  # nobody can be told of the result, and the lease runs out
    assert service.poll() is None
    assert machine.stack.up().postgres_url == machine.url
    wait_for(lambda: machine.finished(task_id))
    machine.check(task_id)
    assert machine.log(task_id).count("step 5/30") == 1
    assert service.poll() is None


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Of this process, and of those that it starts meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_space_left(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(2**14):  # eight times the disk
            file.write(bytes(512))
    assert shutil.disk_usage(folder).free == 0
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a training's state, on a disk of a megabyte."""
    disk = tmp_path / "full" / "state"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def train(folder: Folder, *, log: str, stopping: threading.Event | None = None) -> Result:
    return launch(
        folder,
        processes=1,
        log=folder.path / log,
        stopping=stopping or threading.Event(),
        time_limit_s=PATIENCE_S,
    )


def survive(folder: Folder, job: Job, full: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a training, let it meet a full disk, then go on."""
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "1.0")
    stopping = threading.Event()

    def stop() -> None:
        wait_for(folder.progress.is_file)
        stopping.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(StoppedError):
        train(folder, log="stopped", stopping=stopping)
    stopper.join()
    monkeypatch.delenv("TORCH_COMPOSITION_STEP_S")
    good = json.loads((folder.state / "state.json").read_text())
    before = load_tensors(folder.state / good["tensors"])
    assert 5 <= good["step"] < 30

    with (
        full((folder.state / good["tensors"]).stat().st_size),
        pytest.raises(TrainingFailedError, match=r"state-30\.safetensors cannot be written .*is the disk full\?"),
    ):
        train(folder, log="full")
    assert json.loads((folder.state / "state.json").read_text()) == good
    assert sha256(folder.state / good["tensors"]) == good["sha256"]
    assert load_tensors(folder.state / good["tensors"]).keys() == before.keys()
    assert sorted(path.name for path in folder.state.iterdir()) == sorted(["state.json", good["tensors"]])
    assert not job.weights.exists()

    result = train(folder, log="on")
    assert result.steps == 30
    assert "step 5/30" not in (folder.path / "on").read_text()
    assert sha256(job.weights) == result.sha256


def test_files_that_may_not_grow(prepare: Callable[..., tuple[Folder, Job]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, job = prepare("limited", steps=30)
    survive(folder, job, lambda size: no_file_larger_than(size - 1), monkeypatch)


def test_a_disk_that_is_full_while_the_state_is_saved(
    small_disk: Path, prepare: Callable[..., tuple[Folder, Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, job = prepare("full", steps=30)
    assert folder.state == small_disk
    survive(folder, job, lambda _: no_space_left(small_disk), monkeypatch)
