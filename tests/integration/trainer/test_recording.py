"""The record of a training that goes on while Postgres or the disk does not."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from gapsmith.store import training_runs
from gapsmith.store.database import Database
from gapsmith.trainer.job import Folder, Job, Progress
from gapsmith.trainer.recording import Recording, spent
from gapsmith.training import metrics

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]


def progress(step: int) -> Progress:
    return Progress(step=step, steps=40, elapsed_s=step * 0.5, losses={"loss": 1.0}, rate=1e-3)


def test_a_lost_database_gets_everything_afterwards(
    database: Database,
    prepare: Callable[..., tuple[Folder, Job]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FLUSH_EVERY_S", "RETRY_AFTER_S"):
        monkeypatch.setattr(f"gapsmith.trainer.recording.{name}", 0.0)
    _, job = prepare("job")
    run_id, place = uuid4(), tmp_path / "metrics"

    def rename(old: str, new: str) -> None:
        with database.transaction() as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def recorded() -> list[int]:
        with database.transaction() as connection:
            return [point.step for point in training_runs.points(connection, run_id)]

    with Recording(database, run_id, job, backend="horovod", directory=place, campaign_id=None) as recording:
        recording.tell(progress(5))
        assert recorded() == [5]
        rename("training_metrics", "elsewhere")
        recording.tell(progress(10))
        recording.tell(progress(15))
        rename("elsewhere", "training_metrics")
        assert recorded() == [5]
        recording.tell(progress(20))
        assert recorded() == [5, 10, 15, 20]
        recording.tell(progress(20))  # the same file, read once more
    assert recorded() == [5, 10, 15, 20]
    speeds = [point.samples_per_s for point in metrics.read(place)]
    assert speeds == [None, 64.0, 64.0, 64.0]  # 32 molecules every half second
    used = spent(place)
    with database.transaction() as connection:
        run = training_runs.get(connection, run_id)
    assert used is not None
    assert run is not None
    assert (run.state, run.backend) == ("running", "single")
    assert run.energy_kwh == pytest.approx(used.kwh)


def test_a_database_that_stays_away_does_not_end_a_training(
    postgres_url: str, database: Database, prepare: Callable[..., tuple[Folder, Job]], tmp_path: Path
) -> None:
    _, job = prepare("job")
    mine, run_id = Database(postgres_url, connections=1), uuid4()
    with Recording(mine, run_id, job, backend="horovod", directory=tmp_path / "metrics", campaign_id=None) as recording:
        mine.close()
        recording.tell(progress(5))
        recording.tell(progress(10))
    assert [point.step for point in metrics.read(tmp_path / "metrics")] == [5, 10]
    with database.transaction() as connection:
        run = training_runs.get(connection, run_id)
    assert run is not None
    assert (run.state, run.steps) == ("running", 0)


def test_an_exception_says_why_a_training_failed(
    database: Database, prepare: Callable[..., tuple[Folder, Job]], tmp_path: Path
) -> None:
    _, job = prepare("job")
    (tmp_path / "metrics").write_text("a file, where the folder should be")
    run_id = uuid4()

    def train() -> None:
        with Recording(
            database, run_id, job, backend="torch", directory=tmp_path / "metrics", campaign_id=None
        ) as recording:
            recording.tell(progress(5))
            raise RuntimeError("it fell over")

    with pytest.raises(RuntimeError):
        train()
    with database.transaction() as connection:
        run = training_runs.get(connection, run_id)
    assert run is not None
    assert (run.state, run.reason, run.steps) == ("failed", "it fell over", 5)
