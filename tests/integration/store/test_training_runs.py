"""Trainings in a real Postgres: their course, their end, and what a resumed one does to what was lost."""

import math
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from model_cards import card

from gapsmith.cli.main import cli
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.settings import settings
from gapsmith.store import campaigns, models, training_runs
from gapsmith.store.database import Connection, Database
from gapsmith.training.energy import Energy
from gapsmith.training.metrics import Point

pytestmark = pytest.mark.timeout(600)


def point(step: int, loss: float = 0.5) -> Point:
    return Point(step, step * 0.25, {"loss": loss}, 1e-3, 128.0, step * 1e-6)


def start(connection: Connection, run_id: UUID, role: str = "surrogate", campaign_id: UUID | None = None) -> None:
    training_runs.start(
        connection,
        run_id,
        role=role,
        processes=2,
        backend="horovod",
        device="cpu",
        campaign_id=campaign_id,
        planned_steps=40,
        directory=Path("/somewhere/tensorboard"),
        config={"batch_size": 32},
    )


def test_a_run_from_its_start_to_its_end(database: Database) -> None:
    run_id = uuid4()
    with database.transaction() as connection:
        start(connection, run_id)
        assert training_runs.get(connection, uuid4()) is None
        run = training_runs.get(connection, run_id)
    assert run is not None
    assert (run.role, run.state, run.steps, run.planned_steps, run.processes) == ("surrogate", "running", 0, 40, 2)
    assert (run.energy, run.finished_at, run.model_id) == (None, None, None)
    assert run.config == {"batch_size": 32}
    with database.transaction() as connection:
        training_runs.record(connection, run_id, [point(5), point(10)], Energy(1e-5, "RAPL", True))
        training_runs.record(connection, run_id, [point(15)])
        training_runs.record(connection, run_id, [])
        run = training_runs.get(connection, run_id)
        assert run is not None
        assert (run.steps, run.elapsed_s, run.energy) == (15, 3.75, Energy(1e-5, "RAPL", True))
        assert training_runs.points(connection, run_id) == [point(5), point(10), point(15)]
    with database.transaction() as connection:
        training_runs.finish(connection, run_id, "failed", reason="it fell over", energy=Energy(2e-5, "guess", False))
    with database.transaction() as connection:
        run = training_runs.get(connection, run_id)
    assert run is not None
    assert (run.state, run.reason, run.steps, run.energy) == (
        "failed",
        "it fell over",
        15,
        Energy(2e-5, "guess", False),
    )
    assert run.finished_at is not None
    assert run.started_at < run.finished_at


def test_an_attempt_that_goes_on_takes_the_place_of_what_was_lost(database: Database) -> None:
    run_id, other = uuid4(), uuid4()
    with database.transaction() as connection:
        for one in (run_id, other):
            start(connection, one)
            training_runs.record(connection, one, [point(step, 1.0) for step in (5, 10, 15, 20)])
        training_runs.finish(connection, run_id, "stopped", reason="told to stop")
        begun = training_runs.get(connection, run_id)
    with database.transaction() as connection:
        start(connection, run_id)
        run = training_runs.get(connection, run_id)
        assert run is not None
        assert begun is not None
        assert (run.state, run.reason, run.finished_at, run.started_at) == ("running", None, None, begun.started_at)
        training_runs.record(connection, run_id, [point(12, 2.0), point(17, 2.0)])
        found = {one.step: one.losses["loss"] for one in training_runs.points(connection, run_id)}
        assert found == {5: 1.0, 10: 1.0, 12: 2.0, 17: 2.0}
        assert len(training_runs.points(connection, other)) == 4
        training_runs.record(
            connection, other, [point(20, 3.0), point(8, 4.0), point(20, 4.0)]
        )  # of a file left behind
        found = {one.step: one.losses["loss"] for one in training_runs.points(connection, other)}
        assert found == {5: 1.0, 8: 4.0, 20: 4.0}


def test_losses_that_are_not_finite_are_null(database: Database) -> None:
    run_id = uuid4()
    with database.transaction() as connection:
        start(connection, run_id)
        training_runs.record(
            connection, run_id, [Point(1, 0.1, {"loss": math.nan, "gap": 0.5}, samples_per_s=math.inf)]
        )
        assert training_runs.points(connection, run_id) == [Point(1, 0.1, {"loss": None, "gap": 0.5})]


def test_the_newest_come_first_and_can_be_chosen(database: Database) -> None:
    ids = [uuid4() for _ in range(4)]
    with database.transaction() as connection:
        campaign = campaigns.create(
            connection, parse_campaign({"name": "blue", "target": {"value": 3.0}}), source="test"
        ).id
    for number, run_id in enumerate(ids):
        with database.transaction() as connection:  # one each: now() is the transaction's
            start(connection, run_id, "generator" if number == 1 else "surrogate", campaign if number == 2 else None)
    with database.transaction() as connection:

        def places(**wanted: object) -> list[int]:
            return [ids.index(run.id) for run in training_runs.recent(connection, **wanted)]  # type: ignore[arg-type]

        assert places() == [3, 2, 1, 0]
        assert places(limit=2) == [3, 2]
        assert places(role="generator") == [1]
        assert places(campaign_id=campaign) == [2]


def test_a_model_shows_how_it_was_trained(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, model_id = uuid4(), uuid4()
    with database.transaction() as connection:
        parent = models.ensure_shipped(connection, tmp_path / "a.safetensors", card("surrogate", "0" * 64))
        models.add(
            connection,
            model_id,
            card("surrogate", "1" * 64),
            parent_id=parent,
            path=tmp_path / "b.safetensors",
            metrics={},
            labels=9,
            campaign_id=None,
        )
        start(connection, run_id)
        training_runs.record(connection, run_id, [point(5, 0.75), point(10, 0.5), point(15, 0.25)])
        energy = Energy(2.5e-3, "10 W per busy core", False)
        training_runs.finish(connection, run_id, "finished", model_id=model_id, energy=energy)
        run = training_runs.of(connection, model_id)
        assert run is not None
        assert run.id == run_id
        assert training_runs.of(connection, parent) is None
    monkeypatch.setenv("GAPSMITH_POSTGRES_URL", database.url)
    settings.cache_clear()
    shown = CliRunner().invoke(cli, ["models", "show", "surrogate:1"])
    parent_shown = CliRunner().invoke(cli, ["models", "show", "surrogate:0"])
    settings.cache_clear()
    assert shown.exit_code == parent_shown.exit_code == 0, shown.output
    assert "time    3s for 15 steps, 2 processes (horovod) on " in shown.output
    assert "energy  2.5 Wh (estimated: 10 W per busy core)" in shown.output
    assert "loss    0.75 █▅▁ 0.25" in shown.output
    assert "energy" not in parent_shown.output
