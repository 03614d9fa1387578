"""One process of a training: ``python -m gapsmith.trainer.run FOLDER [--while-pid PID]``, alone or one of several.

The service starts it in a child process. All ranks train; rank 0 then calibrates, measures and saves.
"""

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from gapsmith.core import properties
from gapsmith.core.errors import CheckpointError, GapsmithError, InputError
from gapsmith.trainer import data_sets
from gapsmith.trainer import labels as label_files
from gapsmith.trainer.candidate import Labels, Parent, finish
from gapsmith.trainer.communicator import end_process, join
from gapsmith.trainer.job import Folder, Job, Progress, read
from gapsmith.trainer.outliers import SetAside, outliers
from gapsmith.trainer.rank import STOPPED, alone, end_with
from gapsmith.training.communicator import parameter_fingerprint
from gapsmith.training.judging import judged_by
from gapsmith.training.loop import TrainingPlan, TrainingState, train
from gapsmith.training.memory import keep_freed_memory
from gapsmith.training.protocol import LabelledGeometry

REPORT_EVERY_STEPS = 5
SAVE_EVERY_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(description="One process of a training.")
    parser.add_argument("folder", type=Path, help="holds job.json and labels.safetensors")
    parser.add_argument("--while-pid", type=int, default=None, help="end when this process is gone")
    options = parser.parse_args(arguments)
    if options.while_pid is not None:
        end_with(options.while_pid)
    try:
        folder = Folder(options.folder)
        job = read(Job, folder.job)
        os.nice(job.nice)
        keep_freed_memory()
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        return 0 if run(folder, job) else STOPPED
    except GapsmithError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1


def run(folder: Folder, job: Job) -> bool:
    """Train, measure and save; False if told to stop before the end.

    Raises:
        CheckpointError: the parent is not the model of the job, or the ranks' parameters differ.
        UnavailableError: another training runs in the folder, or Horovod is not installed.
    """
    group = join()
    if group.size > job.processes:
        raise InputError(f"the job wants {job.processes} processes, {group.size} were started")
    with alone(folder.path):
        parent = Parent.of(job)
        labels = split(folder, job, parent)
        model = parent.model()
        parent.trainable.freeze(model, job.tuned)
        model, state = train(
            parent.trainable,
            model,
            parent.trainable.fine_tuning_source(
                model,
                [labels.training, labels.imported],
                batch_size=job.batch_size,
                replay_fraction=job.replay_fraction,
                seed=job.seed,
                device=job.device,
            ),
            plan_of(job),
            directory=folder.state,
            communicator=group,
            on_progress=lambda now, rate: report(folder, job, now, rate),
            should_stop=folder.stop.exists,
        )
        if state.step < job.steps:
            group.leave()
            return False
        fingerprints = group.gather(parameter_fingerprint(model))
        first = group.rank == 0
        group.leave()
        if any(not torch.equal(fingerprint, fingerprints[0]) for fingerprint in fingerprints):
            raise CheckpointError(f"the ranks ended with different parameters: {fingerprints}")
        if first:
            finish(folder, parent, model, state, labels, fingerprints)
    return True


def split(folder: Folder, job: Job, parent: Parent) -> Labels:
    """Labels to train on, and the newest, which nothing is trained on; without those that the parent finds impossible.

    Raises:
        InputError: the file holds other labels than the job speaks of, or nothing is left to train on or to judge by.
    """
    imported = data_sets.labelled(job.data, "train")
    if not job.training_labels:  # of the data sets alone
        held_out = data_sets.labelled(job.data, "validation")
        if not imported or not held_out:
            raise InputError(
                f"{', '.join(job.data)}: {len(imported)} molecules are left to train on and {len(held_out)} to judge by; "
                "import more"
            )
        return Labels([], held_out, (), imported)
    found = label_files.read(folder.labels)
    if len(found) != job.training_labels + job.held_out_labels:
        raise InputError(f"{folder.labels} holds {len(found)} labels, {folder.job} speaks of others")
    geometries = [LabelledGeometry(label.numbers, label.coordinates, label.targets) for label in found]
    model = parent.model().eval()
    wanted = [metric.name for metric in judged_by(parent.trainable, job.property) if metric.absolute_error]
    measured = [parent.trainable.evaluate_labels(model, [one]) if wanted else {} for one in geometries]
    errors = [sum(one.get(name, math.nan) for name in wanted) for one in measured]
    strange = {
        place: SetAside(
            calculation_id=str(found[place].calculation_id),
            property=job.property,
            value=_value(job.property, found[place].targets),
            error=errors[place],
        )
        for place in outliers(errors)
        if not found[place].confirmed
    }
    kept = [(place, geometry) for place, geometry in enumerate(geometries) if place not in strange]
    training = [geometry for place, geometry in kept if place < job.training_labels]
    held_out = [geometry for place, geometry in kept if place >= job.training_labels]
    if not training or not held_out:
        raise InputError(f"{len(strange)} of {len(found)} labels are outliers, and too few are left to learn from")
    return Labels(training, held_out, tuple(strange.values()), imported)


def _value(name: str, targets: Mapping[str, float]) -> float:
    """A label's value of a property, out of those of the heads that it follows from."""
    weights = properties.get(name).heads or {name: 1.0}
    return sum(weight * targets.get(properties.get(head).column, math.nan) for head, weight in weights.items())


def plan_of(job: Job) -> TrainingPlan:
    """How the job is trained."""
    return TrainingPlan(
        steps=job.steps,
        learning_rate=job.learning_rate,
        warmup_steps=max(1, min(20, job.steps // 10)),
        seed=job.seed,
        save_every_s=SAVE_EVERY_S,
        report_every_steps=REPORT_EVERY_STEPS,
    )


def report(folder: Folder, job: Job, state: TrainingState, rate: float) -> None:
    """Tell the service and the log how far the training is."""
    with suppress(OSError):  # a full disk ends a training when its state cannot be saved, not before
        Progress(step=state.step, steps=job.steps, elapsed_s=state.elapsed_s, losses=state.losses, rate=rate).write(
            folder.progress
        )
    losses = " ".join(f"{name} {value:.4f}" for name, value in state.losses.items())
    print(f"step {state.step}/{job.steps} {state.elapsed_s:.1f} s rate {rate:.2e} {losses}", flush=True)


if __name__ == "__main__":
    end_process(main())
