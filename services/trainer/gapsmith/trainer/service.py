"""Requests for a training in, models that passed the gate out."""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import structlog

from gapsmith.bus.inlet import Handler, on
from gapsmith.bus.service import Commit, Interrupted, TaskService, serve
from gapsmith.core import properties
from gapsmith.core.errors import DataError, InputError
from gapsmith.core.messages import TrainingFinished, TrainingRequested
from gapsmith.core.settings import Settings
from gapsmith.data import imported
from gapsmith.store import campaigns, labels, models, outbox, tasks, training_runs
from gapsmith.store.database import Connection, Database
from gapsmith.store.labels import Label
from gapsmith.store.model_story import check_role
from gapsmith.store.models import Model
from gapsmith.store.tasks import MOST_ATTEMPTS, Task
from gapsmith.trainer import data_sets
from gapsmith.trainer import labels as label_files
from gapsmith.trainer.gate import Verdict, judge
from gapsmith.trainer.job import Folder, Job, Progress, Result, read
from gapsmith.trainer.labels import LEAST_HELD_OUT, LEAST_TRAINING
from gapsmith.trainer.launch import StoppedError, TrainingFailedError, launch
from gapsmith.trainer.processes import horovod_problem
from gapsmith.trainer.recording import Recording, spent
from gapsmith.trainer.settings import TrainerSettings
from gapsmith.training.card import card_alone
from gapsmith.training.files import card_path, sha256

log = structlog.get_logger()

ROOM_POLL_S = 10.0  # between two looks whether a full disk has room again


class TrainerService(TaskService):
    """Fine-tunes models on labels in processes of their own, and promotes what is no worse."""

    name = "trainer"
    one_per = "role"  # a second training of a role waits, and starts from what came of the first

    def __init__(self, settings: Settings, database: Database, trainer: TrainerSettings | None = None) -> None:
        super().__init__(settings, database)
        self.trainer = trainer or TrainerSettings.load()

    def handlers(self) -> Sequence[Handler]:
        """Events in."""
        return [on(TrainingRequested, self.on_requested)]

    def setup(self) -> None:
        """Clear away what attempts left that nobody will take up again."""
        self.tidy()

    def on_requested(self, connection: Connection, event_id: UUID, event: TrainingRequested) -> None:
        """Queue a training; raises InputError if there is no such role."""
        check_role(connection, event.role)
        tasks.add(
            connection,
            event_id,
            service=self.name,
            kind="train",
            payload=event.model_dump(mode="json"),
            campaign_id=event.campaign_id,
        )

    def perform(self, task: Task) -> Commit:
        """Train, judge, register."""
        self._wait_for_room()
        event = TrainingRequested.model_validate_json(json.dumps(dict(task.payload)))
        self.tidy()
        with self.database.transaction() as connection:
            live = models.live(connection, event.role)
            found = labels.collect(connection, event.campaign_id)
            config = campaigns.get(connection, event.campaign_id).config
        data = config.data if event.role == "surrogate" else ()
        if live is None:
            return self._nothing(event, f"nothing trained: no {event.role} is live; start the service {event.role}")
        try:
            imported.check(data)
        except InputError as error:
            return self._nothing(event, f"nothing trained: {error}")
        if label_files.held_out(len(found)) == 0 and not self._unlearned(data, live):
            least = LEAST_TRAINING + LEAST_HELD_OUT
            return self._nothing(event, f"nothing trained: {len(found)} labels, and it takes {least}")
        folder = Folder(self.trainings / str(task.id))
        try:
            job = self._job(folder, task, event, config.target.main.name, live, found, data)
            result = self._train(folder, job, task)
        except StoppedError:
            raise Interrupted from None
        except TrainingFailedError as error:
            if task.attempts >= MOST_ATTEMPTS - 1:  # the last attempt begins anew, in case the saved state is to blame
                shutil.rmtree(folder.path, ignore_errors=True)
            if task.attempts < MOST_ATTEMPTS:
                raise
            return self._nothing(event, f"nothing promoted: {error}")
        return self._register(event, job, result, task.id)

    def _wait_for_room(self) -> None:
        """Give the task back, after a while, if the disk is full: attempts that cannot succeed are not counted."""
        home, needed = self.settings.home, self.trainer.room_mb
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(home).free // 2**20
        if free < needed:
            self.doing = "waits for room on the disk"
            log.error(
                "training waits",
                reason=f"the disk of {home} is full: {free} MB are free and a training needs {needed}; free some, or lower "
                "GAPSMITH_TRAINER_ROOM_MB",
            )
            self.interrupt.wait(ROOM_POLL_S)
            raise Interrupted

    @property
    def trainings(self) -> Path:
        """Folder of the trainings that run."""
        return self.settings.home / "trainings"

    def _unlearned(self, data: Sequence[str], live: Model) -> bool:
        """Whether the live model has not learned from all of these data sets."""
        known = {str(one["name"]) for one in card_alone(Path(live.path)).get("sources", [])}
        return any(f"imported:{name}" not in known for name in data)

    def _job(
        self,
        folder: Folder,
        task: Task,
        event: TrainingRequested,
        wanted: str,
        live: Model,
        found: list[Label],
        data: tuple[str, ...],
    ) -> Job:
        """The job of the attempt before, if it starts from the model that is live now; else a new one."""
        try:
            job = read(Job, folder.job)
            if (job.parent_id, job.parent_sha256) == (live.id, live.sha256):
                log.info("training goes on")
                return job
        except DataError:
            pass
        shutil.rmtree(folder.path, ignore_errors=True)
        processes, warnings = self._processes(event.processes)
        model_id = model_of(task.id)
        held_out = label_files.held_out(len(found))
        batch_size = math.ceil(self.trainer.batch_size / processes) * processes
        seen = event.steps * batch_size
        replay = label_files.replayed(self.trainer.replay_fraction, labels=len(found) - held_out, seen=seen)
        learning = {
            "data": data,
            "training_labels": len(found) - held_out,
            "held_out_labels": held_out,
            "steps": event.steps,
            "replay_fraction": replay,
            "learning_rate": self.trainer.learning_rate,
            "tuned": self.trainer.tuned,
        }
        if not held_out:  # too few labels, but data sets that are new to the live model
            learning, found = data_sets.recipe(data, self.trainer), []
        job = Job(
            role=event.role,
            property=wanted,
            parent_id=live.id,
            parent_weights=Path(live.path),
            parent_sha256=live.sha256,
            model_id=model_id,
            weights=self.settings.models / f"{event.role}-{model_id}.safetensors",
            batch_size=batch_size,
            **learning,
            base_molecules=self.trainer.base_molecules,
            seed=event.seed,
            processes=processes,
            warnings=warnings,
            device=self.trainer.device,
            nice=self.trainer.nice,
        )
        if found:
            label_files.write(folder.labels, found)
        job.write(folder.job)
        return job

    def _processes(self, wanted: int) -> tuple[int, tuple[str, ...]]:
        """How many processes to train in, and why not as many as wanted."""
        most = max(2, os.cpu_count() or 1)
        if wanted == 1:
            return 1, ()
        if self.trainer.backend == "horovod" and (problem := horovod_problem()) is not None:
            warning = f"{wanted} processes were asked for, but {problem}; trained in one process"
            log.warning("single-process training", reason=warning)
            return 1, (warning,)
        if wanted > most:
            warning = f"{wanted} processes were asked for, but this machine has {most} cores; trained in {most}"
            log.warning("fewer processes", reason=warning)
            return most, (warning,)
        return wanted, ()

    def _train(self, folder: Folder, job: Job, task: Task) -> Result:
        """The result of the training, which an attempt that was killed afterwards may have left."""
        with suppress(DataError):
            result = read(Result, folder.result)
            if job.weights.is_file() and result.sha256 == sha256(job.weights):
                return result
        log.info("training", role=job.role, steps=job.steps, processes=job.processes, labels=job.training_labels)
        with self._recording(job, task) as recording:

            def tell(progress: Progress) -> None:
                self.doing = f"train {progress.step}/{progress.steps}"
                recording.tell(progress)

            return launch(
                folder,
                processes=job.processes,
                backend=self.trainer.backend,
                log=self.settings.home / "logs" / f"training-{task.id}.log",
                stopping=self.interrupt,
                time_limit_s=self.trainer.time_limit_s,
                network_interface=self.trainer.network_interface,
                on_progress=tell,
            )

    def _recording(self, job: Job, task: Task) -> Recording:
        """The task's run, in ``training_runs`` and as files for TensorBoard."""
        return Recording(
            self.database,
            task.id,
            job,
            backend=self.trainer.backend,
            directory=self._metrics(job),
            campaign_id=task.campaign_id,
            watts_per_core=self.trainer.watts_per_core,
        )

    def _metrics(self, job: Job) -> Path:
        """Folder of the training's files for TensorBoard, which stay."""
        return self.settings.home / "tensorboard" / f"{job.role}-{job.model_id}"

    def _register(self, event: TrainingRequested, job: Job, result: Result, run_id: UUID) -> Commit:
        assert job.parent_id is not None  # the live model's, see ``_job``
        parent_id = job.parent_id
        verdict, card = judge(result.candidate, result.live, result.judged_by), card_alone(job.weights)
        metrics = {
            **result.metrics,
            "live": result.live.named(),
            "candidate": result.candidate.named(),
            "training": result.model_dump(
                include={"steps", "skipped", "elapsed_s", "processes", "fingerprints", "losses", "set_aside"}
            ),
            "warnings": list(job.warnings),
        }
        energy = spent(self._metrics(job))
        if energy is not None:
            metrics["training"] |= {f"energy_{name}": value for name, value in asdict(energy).items()}

        def commit(connection: Connection) -> None:
            models.add(
                connection,
                job.model_id,
                card,
                parent_id=parent_id,
                path=job.weights,
                metrics=storable(metrics),
                labels=job.training_labels,
                campaign_id=event.campaign_id,
            )
            final = verdict
            live = models.live(connection, job.role)  # nobody can change it until this transaction ends
            if live is None or live.id != job.parent_id:
                final = Verdict(
                    False, f"rejected: another {job.role} went live during the training; {verdict.sentence}"
                )
            sentence = "; ".join([final.sentence, *_strange(result), *job.warnings])
            if final.promoted:
                models.promote(connection, job.model_id, sentence, source=self.name)
            else:
                models.reject(connection, job.model_id, sentence)
            training_runs.finish(connection, run_id, "finished", model_id=job.model_id, energy=energy)
            self._emit(connection, event, job.model_id, final.promoted, sentence)

        return commit

    def _nothing(self, event: TrainingRequested, verdict: str) -> Commit:
        return lambda connection: self._emit(connection, event, None, False, verdict)

    def _emit(
        self, connection: Connection, event: TrainingRequested, model_id: UUID | None, promoted: bool, verdict: str
    ) -> None:
        log.info("verdict", model=str(model_id), promoted=promoted, verdict=verdict)
        finished = TrainingFinished(
            campaign_id=event.campaign_id, role=event.role, model_id=model_id, promoted=promoted, verdict=verdict
        )
        outbox.emit(connection, finished, source=self.name)

    def tidy(self) -> None:
        """Remove folders of trainings that are over, and weights that no row knows and no open training will write."""
        with self.database.transaction() as connection:
            open_ones = tasks.open_ids(connection, self.name)
            known = models.ids(connection)
        for path in self.trainings.glob("*"):
            if path.name not in {str(task_id) for task_id in open_ones}:
                shutil.rmtree(path, ignore_errors=True)
        kept = known | {model_of(task_id) for task_id in open_ones}
        for path in self.settings.models.glob("*.safetensors"):
            model_id = _trailing_uuid(path.stem)
            if model_id is not None and model_id not in kept:
                log.info("leftover removed", path=str(path))
                path.unlink(missing_ok=True)
                card_path(path).unlink(missing_ok=True)


def model_of(task_id: UUID) -> UUID:
    """The id of the model that a task trains: the same in every attempt."""
    return uuid5(task_id, "model")


def storable(value: Any) -> Any:
    """The same for a JSON column: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _strange(result: Result) -> list[str]:
    """In words, the labels that were set aside."""
    return [
        f"calculation {label.calculation_id} set aside: a {kind.noun} of {label.value:.2f} {kind.unit}, "
        f"which the live model misses by {label.error:.2f}"
        for label in result.set_aside
        for kind in (properties.get(label.property),)
    ]


def _trailing_uuid(stem: str) -> UUID | None:
    try:
        return UUID(stem[-36:])
    except ValueError:
        return None


def main(settings: Settings) -> None:
    """Entry point ``gapsmith.services``."""
    serve(TrainerService, settings)
