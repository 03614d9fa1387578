"""The trainer on a real Postgres with real trainings: promotion, rejection, too few labels, stops, leftovers."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psutil
import pytest
from labelled_candidates import store
from model_cards import card

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.errors import InputError
from gapsmith.core.messages import Envelope, ModelPromoted, TrainingFinished, TrainingRequested
from gapsmith.core.settings import Settings
from gapsmith.store import campaigns, models, tasks, training_runs
from gapsmith.store.database import Database
from gapsmith.store.labels import Label, collect
from gapsmith.trainer.service import TrainerService, model_of
from gapsmith.trainer.settings import TrainerSettings
from gapsmith.training import metrics
from gapsmith.training.card import card_alone
from gapsmith.training.checkpoint import read_card

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = TrainerSettings(base_molecules=500, learning_rate=1e-3, nice=0)


class World:
    """A campaign, a live model and a trainer."""

    def __init__(self, database: Database, home: Path, parent: Path, labels: Callable[[int], list[Label]]) -> None:
        self.database, self.home, self.labels = database, home, labels
        with database.transaction() as connection:
            config = parse_campaign({"name": "test", "target": {"value": 4.0}})
            self.campaign_id = campaigns.create(connection, config, source="test").id
            self.live_id = models.ensure_shipped(connection, parent, card_alone(parent))

    def trainer(self, settings: TrainerSettings = SMALL) -> TrainerService:
        service = TrainerService(Settings(home=self.home), self.database, settings)
        service.setup()
        return service

    def label(self, known: list[Label]) -> None:
        """Store labelled candidates, the first the oldest."""
        with self.database.transaction() as connection:
            for age, label in enumerate(reversed(known)):
                store(connection, self.campaign_id, label, age)

    def request(self, service: TrainerService, **fields: Any) -> UUID:
        """What the event does."""
        event = TrainingRequested(
            campaign_id=self.campaign_id, **({"role": "composition", "labels": 12, "steps": 10} | fields)
        )
        task_id = uuid4()
        with self.database.transaction() as connection:
            service.on_requested(connection, task_id, event)
        return task_id

    def events(self) -> list[Any]:
        """What was told, beyond the campaign's start."""
        with self.database.transaction() as connection:
            rows = connection.execute("SELECT envelope FROM outbox ORDER BY sequence").fetchall()
        told = [Envelope.model_validate(row["envelope"]).event() for row in rows]
        return [event for event in told if isinstance(event, TrainingFinished | ModelPromoted)]

    def task(self, task_id: UUID) -> dict[str, Any]:
        with self.database.transaction() as connection:
            row = connection.execute("SELECT state, attempts, error FROM tasks WHERE id = %s", (task_id,)).fetchone()
        assert row is not None
        return row

    def live(self) -> models.Model:
        with self.database.transaction() as connection:
            live = models.live(connection, "composition")
        assert live is not None
        return live


@pytest.fixture
def world(database: Database, tmp_path: Path, parent: Path, labels: Callable[[int], list[Label]]) -> World:
    return World(database, tmp_path / "home", parent, labels)


def test_labels_come_oldest_first_and_once(world: World) -> None:
    known = world.labels(4)
    world.label(known)
    with world.database.transaction() as connection:
        connection.execute(
            """INSERT INTO candidates (id, campaign_id, conformer_id, state, triage_id, label_value)
               SELECT gen_random_uuid(), campaign_id, conformer_id, 'certified', triage_id, label_value
               FROM candidates LIMIT 1"""
        )  # another candidate of the same calculation
        connection.execute("UPDATE candidates SET label_value = NULL WHERE triage_id = %s", (known[2].calculation_id,))
        found = collect(connection)
    assert [label.calculation_id for label in found] == [known[i].calculation_id for i in (0, 1, 3)]
    np.testing.assert_array_equal(found[0].numbers, known[0].numbers)
    np.testing.assert_allclose(found[0].coordinates, known[0].coordinates, atol=1e-6)
    assert found[0].targets == pytest.approx(
        {"gap_ev": known[0].targets["gap_ev"], "homo_ev": -7.0, "lumo_ev": known[0].targets["gap_ev"] - 7.0}
    )


def test_training_is_judged_registered_and_told(world: World) -> None:
    world.label(world.labels(12))
    service = world.trainer()
    task_id = world.request(service)
    assert service.work()
    assert world.task(task_id)["state"] == "done"
    with world.database.transaction() as connection:
        model = models.get(connection, model_of(task_id))
    assert (model.version, model.parent_id, model.labels) == (1, world.live_id, 9)
    assert read_card(Path(model.path), role="composition")["sha256"] == model.sha256
    assert model.metrics["training"]["steps"] == 10
    *promotions, finished = world.events()
    assert finished.verdict == model.verdict
    assert finished.promoted is (model.state == "live") is (world.live().id == model.id)
    assert [event.model_id for event in promotions] == ([model.id] if finished.promoted else [])
    assert "on 3 held-out labels: QM9 gap MAE" in finished.verdict
    assert not service.work()

    service.setup()  # what the training left is cleared away, the registered weights are not
    assert list(service.trainings.iterdir()) == []
    assert Path(model.path).is_file()


def test_course_and_energy_are_recorded_and_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "0.1")
    world.label(world.labels(12))
    service = world.trainer(SMALL.model_copy(update={"watts_per_core": 20.0}))
    task_id = world.request(service, steps=20)
    assert service.work()
    with world.database.transaction() as connection:
        model = models.get(connection, model_of(task_id))
        run = training_runs.of(connection, model.id)
        assert run is not None
        points = training_runs.points(connection, run.id)
    assert (run.id, run.state, run.campaign_id, run.role) == (task_id, "finished", world.campaign_id, "composition")
    assert (run.steps, run.planned_steps, run.processes, run.backend) == (20, 20, 1, "single")
    assert run.config["parent_id"] == str(world.live_id)
    assert [point.step for point in points] == [5, 10, 15, 20]
    assert all(point.losses["loss"] is not None and point.losses["loss"] > 0 for point in points)
    speeds = [point.samples_per_s for point in points[1:]]
    assert all(speed is not None and 32 < speed < 330 for speed in speeds)  # 32 samples a step of a tenth of a second
    spent = [point.energy_kwh for point in points if point.energy_kwh is not None]
    assert len(spent) == len(points)
    assert spent == sorted(spent)
    assert run.energy is not None
    assert run.energy.kwh > 0
    if not run.energy.measured:
        assert run.energy.method == "20 W per busy core"
        assert 20 < run.energy.kwh * 3.6e6 < 20 * 60  # seconds of CPU time, most of it to load torch
    assert model.metrics["training"]["energy_kwh"] == run.energy.kwh
    assert run.directory is not None
    service.setup()
    assert metrics.read(Path(run.directory)) == points
    assert list(Path(run.directory).glob("events.out.tfevents.*"))


def test_a_label_that_makes_no_sense_is_set_aside_and_told(world: World) -> None:
    known = world.labels(14)
    nonsense = replace(known[4], targets={"gap_ev": 80.0})
    world.label([*known[:4], nonsense, *known[5:]])
    service = world.trainer()
    world.request(service, labels=14)
    service.work()
    told = world.events()[0]
    assert isinstance(told, TrainingFinished)
    assert f"calculation {nonsense.calculation_id} set aside: a gap of 80.00 eV" in told.verdict
    with world.database.transaction() as connection:
        assert told.model_id is not None
        model = models.get(connection, told.model_id)
    (label,) = model.metrics["training"]["set_aside"]
    assert label["calculation_id"] == str(nonsense.calculation_id)
    assert label["error"] > 60
    card = read_card(Path(model.path), role="composition")
    assert card["labels"]["training"] + card["labels"]["held_out"] == 13


def test_model_that_forgot_never_goes_live(world: World) -> None:
    wrong = [Label(x.calculation_id, x.numbers, x.coordinates, {"gap_ev": 30.0}) for x in world.labels(12)]
    world.label(wrong)
    service = world.trainer(
        SMALL.model_copy(update={"optimizer": "adamw", "learning_rate": 0.3, "replay_fraction": 0.0})
    )
    task_id = world.request(service, steps=40)
    assert service.work()
    (finished,) = world.events()
    assert not finished.promoted
    assert finished.model_id == model_of(task_id)
    assert finished.verdict.startswith("rejected on 3 held-out labels: FAILED: QM9 gap MAE")
    assert world.live().id == world.live_id


def test_too_few_labels_and_no_live_model(world: World) -> None:
    world.label(world.labels(5))
    service = world.trainer()
    world.request(service)
    assert service.work()
    assert world.events()[-1].verdict == "nothing trained: 5 labels, and it takes 6"
    with world.database.transaction() as connection:
        connection.execute("UPDATE models SET state = 'retired'")
    world.request(service)
    assert service.work()
    assert world.events()[-1].verdict.startswith("nothing trained: no composition is live")
    assert all(event.model_id is None and not event.promoted for event in world.events())


def test_unknown_role_is_refused_with_the_known_ones(world: World) -> None:
    with pytest.raises(InputError, match="'sourogate'; did you mean 'surrogate'"):
        world.request(world.trainer(), role="sourogate")


def test_missing_horovod_falls_back_to_one_process(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    world.label(world.labels(8))
    service = world.trainer(SMALL.model_copy(update={"backend": "horovod"}))
    task_id = world.request(service, processes=2, steps=2)
    assert service.work()
    warning = "2 processes were asked for, but Horovod is not installed (build it with 'make horovod')"
    with world.database.transaction() as connection:
        model = models.get(connection, model_of(task_id))
    assert warning in world.events()[-1].verdict
    assert warning in model.metrics["warnings"][0]
    card = read_card(Path(model.path), role="composition")
    assert card["processes"] == 1
    assert warning in card["warnings"][0]


def test_stopped_service_gives_the_task_back_and_the_next_one_finishes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.label(world.labels(12))
    service = world.trainer()
    task_id = world.request(service, steps=30)
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "1.0")
    progress = service.trainings / str(task_id) / "progress.json"

    def stop() -> None:
        while not progress.is_file():
            time.sleep(0.1)
        service.stop()

    threading.Thread(target=stop, daemon=True).start()
    assert service.work()
    assert world.task(task_id) == {"state": "pending", "attempts": 0, "error": None}
    assert service.doing == "idle"
    with world.database.transaction() as connection:
        stopped = training_runs.get(connection, task_id)
    assert stopped is not None
    assert (stopped.state, stopped.reason) == ("stopped", "told to stop")
    assert stopped.energy is not None
    assert stopped.energy.kwh > 0
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert not [child for child in living if "gapsmith.trainer.run" in child.cmdline()]
    monkeypatch.delenv("TORCH_COMPOSITION_STEP_S")

    world.label(world.labels(13)[12:])  # a label that came in between changes nothing in a training that goes on
    leftover = service.settings.models / f"composition-{uuid4()}.safetensors"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"of a dead attempt")
    successor = world.trainer()
    assert not leftover.exists()
    assert successor.work()
    assert world.task(task_id)["state"] == "done"
    log = (world.home / "logs" / f"training-{task_id}.log").read_text()
    assert log.count("step 5/30") == 1  # it was not begun again
    with world.database.transaction() as connection:
        assert models.get(connection, model_of(task_id)).labels == 9
        run = training_runs.get(connection, task_id)
        points = training_runs.points(connection, task_id)
    assert run is not None
    assert (run.state, run.steps, run.started_at) == ("finished", 30, stopped.started_at)
    assert run.energy is not None
    assert run.energy.kwh > stopped.energy.kwh  # both attempts
    assert run.directory is not None
    assert metrics.read(Path(run.directory)) == points


def test_training_that_crashes_is_tried_again_then_told(world: World) -> None:
    world.label(world.labels(8))
    service = world.trainer(SMALL.model_copy(update={"time_limit_s": 0.5}))
    task_id = world.request(service)
    for attempt in (1, 2, 3):
        assert service.work()
        assert world.task(task_id)["attempts"] == attempt
        kept = (service.trainings / str(task_id)).exists()
        assert kept is (attempt == 1)  # the second attempt goes on, the last begins anew
    assert world.task(task_id)["state"] == "done"
    (finished,) = world.events()
    assert not finished.promoted
    assert "ended after 0.5 s" in finished.verdict
    with world.database.transaction() as connection:
        run = training_runs.get(connection, task_id)
    assert run is not None
    assert run.state == "failed"
    assert run.reason is not None
    assert "ended after 0.5 s" in run.reason


def test_second_training_of_a_kind_waits_and_starts_from_what_came_of_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.label(world.labels(12))
    first, second = world.trainer(), world.trainer()
    first.instance, second.instance = "one", "two"
    one = world.request(first, steps=20)
    two = world.request(first, steps=2, seed=1)
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "1.0")
    at_work = threading.Thread(target=first.work)
    at_work.start()
    progress = first.trainings / str(one) / "progress.json"
    end = time.monotonic() + 200
    while not progress.is_file():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not second.work()
    assert world.task(two) == {"state": "pending", "attempts": 0, "error": None}
    at_work.join(120)
    live = world.live()
    assert second.work()
    assert world.task(two)["state"] == "done"
    with world.database.transaction() as connection:
        assert models.get(connection, model_of(two)).parent_id == live.id


def test_a_training_waits_while_the_disk_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapsmith.trainer.service.ROOM_POLL_S", 0.0)
    world.label(world.labels(8))
    service = world.trainer(SMALL.model_copy(update={"room_mb": 10**9}))
    task_id = world.request(service, steps=2)
    for _ in range(5):
        assert service.work()
        assert world.task(task_id) == {"state": "pending", "attempts": 0, "error": None}
    service.trainer = SMALL
    assert service.work()
    assert world.task(task_id)["state"] == "done"


def test_model_that_another_one_overtook_is_rejected(world: World, parent: Path) -> None:
    world.label(world.labels(8))
    service = world.trainer()
    task_id = world.request(service, steps=2)
    with world.database.transaction() as connection:
        task = tasks.claim(connection, "trainer", "test", 60.0)
    assert task is not None
    commit = service.perform(task)
    other = uuid4()
    with world.database.transaction() as connection:
        models.add(
            connection,
            other,
            card("composition", ""),
            parent_id=world.live_id,
            path=parent,
            metrics={},
            labels=0,
            campaign_id=None,
        )
        models.promote(connection, other, "by hand", source="test")
        commit(connection)
        rejected = models.get(connection, model_of(task_id))
    assert rejected.state == "rejected"
    assert rejected.verdict is not None
    assert rejected.verdict.startswith("rejected: another composition went live during the training; ")
    assert world.live().id == other
