"""``gapsmith train surrogate --with NAME`` at work: the live model learns imported data sets, and the gate judges it."""

import json
import math
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from gapsmith.core.errors import InputError
from gapsmith.core.settings import settings
from gapsmith.core.signals import ending
from gapsmith.core.terminal import bar, echo
from gapsmith.stack.connect import if_running, live_weights
from gapsmith.store import models
from gapsmith.store.database import Connection
from gapsmith.trainer import data_sets
from gapsmith.trainer.candidate import Parent
from gapsmith.trainer.gate import Verdict, judge
from gapsmith.trainer.job import Folder, Job, Progress, Result, read
from gapsmith.trainer.launch import StoppedError, launch
from gapsmith.trainer.settings import TrainerSettings
from gapsmith.training.card import read_card
from gapsmith.training.files import card_path, write_atomically

ROLE: Final = "surrogate"
FOREIGN: Final = ("config", "changes", "time_budget", "hosts", "split", "molecules", "compiled", "compress")


def new_job(folder: Folder, names: Sequence[str], given: dict[str, Any], trainer: TrainerSettings) -> Job:
    """The job, written into its folder; raises InputError or NotFound before anything is computed."""
    if wrong := [key for key in FOREIGN if given[key]]:
        raise InputError(f"--with takes no --{wrong[0].replace('_', '-')}: the configuration is that of the live model")
    if folder.job.is_file():
        raise InputError(f"{folder.path} holds a training: go on with it by --resume, or choose another --directory")
    start = given["start"] or live_weights(ROLE)
    card = read_card(start, role=ROLE)
    learning = data_sets.recipe(names, trainer) | ({"steps": given["steps"]} if given["steps"] else {})
    row = if_running(lambda connection: models.live(connection, ROLE))
    job = Job(
        role=ROLE,
        parent_id=row.id if row is not None and row.sha256 == card["sha256"] else None,
        parent_weights=Path(start).absolute(),
        parent_sha256=card["sha256"],
        model_id=uuid4(),
        weights=folder.path / f"{ROLE}.safetensors",
        batch_size=trainer.batch_size,
        **learning,
        base_molecules=trainer.base_molecules,
        seed=given["seed"],
        processes=given["processes"],
        device=given["device"],
    )
    _ = Parent.of(job).config  # says what is wrong before any process starts
    job.write(folder.job)
    return job


def train_with(folder: Folder, names: Sequence[str], given: dict[str, Any], *, resume: bool) -> None:
    """Train, judge, and let the model go live where servers run."""
    trainer = TrainerSettings.load()
    job = read(Job, folder.job) if resume else new_job(folder, names, given, trainer)
    if resume and set(names) != set(job.data):
        raise InputError(f"{folder.path} holds a training with {', '.join(job.data)}, not with {', '.join(names)}")
    stopping = threading.Event()
    for number in ending():
        signal.signal(number, lambda *_: stopping.set())
    os.environ["OMP_NUM_THREADS"] = str(given["threads"] or max(1, (os.cpu_count() or 1) // job.processes))
    with bar("training", total=job.steps) as shown:

        def tell(progress: Progress) -> None:
            shown.show(progress.step, words=" ".join(f"{name} {value:.4f}" for name, value in progress.losses.items()))

        try:
            result = launch(
                folder,
                processes=job.processes,
                backend="torch",
                log=folder.path / "log",
                stopping=stopping,
                time_limit_s=math.inf,
                on_progress=tell,
            )
        except StoppedError:
            words = " ".join(f"--with {name}" for name in job.data)
            echo(f"stopped; go on with: gapsmith train {ROLE} {words} -d {folder.path} --resume", err=True)
            sys.exit(130)
    verdict = judge(result.candidate, result.live, result.judged_by)
    _conclude(folder, job, result, verdict)


def _conclude(folder: Folder, job: Job, result: Result, verdict: Verdict) -> None:
    """Write the verdict into the card, register the model where servers run, and say what comes next."""
    path = card_path(job.weights)
    card = json.loads(path.read_text()) | {"verdict": verdict.sentence, "promoted": verdict.promoted}
    write_atomically(path, json.dumps(card, indent=2).encode())
    echo(verdict.sentence.replace("; ", "\n  "))
    for name, value in result.metrics.get("test", {}).items():
        if "_mae_" in name:
            echo(f"held-out tenth: {name} {value:.4f}")
    echo(f"weights  {job.weights}")
    name = if_running(lambda connection: _registered(connection, job, card, result, verdict))
    if name is not None:
        echo(f"{name} is live" if verdict.promoted else f"{name} was rejected; the live model stays")
    elif verdict.promoted:
        echo(
            f"use it: gapsmith predict --weights {job.weights}, or GAPSMITH_SURROGATE_WEIGHTS={job.weights} gapsmith up"
        )
    if not verdict.promoted:
        sys.exit(1)


def _registered(connection: Connection, job: Job, card: dict[str, Any], result: Result, verdict: Verdict) -> str | None:
    """Register the model, and promote it if the gate let it through; None if its parent is not the live model."""
    live = models.live(connection, job.role)
    if live is None or live.id != job.parent_id:
        return None
    kept = settings().models / f"{job.role}-{job.model_id}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    for source, target in ((job.weights, kept), (card_path(job.weights), card_path(kept))):
        shutil.copyfile(source, target)
    metrics = {**result.metrics, "live": result.live.named(), "candidate": result.candidate.named()}
    labels = card["labels"]["imported"]
    version = models.add(
        connection, job.model_id, card, parent_id=live.id, path=kept, metrics=metrics, labels=labels, campaign_id=None
    )
    if verdict.promoted:
        models.promote(connection, job.model_id, verdict.sentence, source="gapsmith train")
    else:
        models.reject(connection, job.model_id, verdict.sentence)
    return f"{job.role}:{version}"
