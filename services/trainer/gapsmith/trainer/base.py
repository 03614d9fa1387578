"""One process of a base training: ``python -m gapsmith.trainer.base DIRECTORY``, alone or one of several.

``gapsmith train`` starts it. On a machine with torch, numpy and safetensors alone it runs by itself::

    python -m gapsmith.trainer.base runs/a --new '{"architecture": "gapsmith.surrogate.trainable:SurrogateTrainable",
        "device": "cuda", "time_budget_s": 1140}'
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from gapsmith.core import documents
from gapsmith.core.errors import CheckpointError, GapsmithError
from gapsmith.trainer.assignment import Assignment, Paths
from gapsmith.trainer.communicator import end_process, join
from gapsmith.trainer.rank import STOPPED, alone, end_with
from gapsmith.training.checkpoint import save_model
from gapsmith.training.communicator import parameter_fingerprint
from gapsmith.training.energy import EnergyMeter, total
from gapsmith.training.files import write_atomically
from gapsmith.training.loop import TrainingState, train
from gapsmith.training.memory import keep_freed_memory
from gapsmith.training.metrics import MetricsWriter, Point
from gapsmith.training.protocol import BaseTraining, trainable


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gapsmith.trainer.base", description="One process of a base training."
    )
    parser.add_argument("directory", type=Path, help="of the run; holds assignment.json, or gets it with --new")
    parser.add_argument("--new", metavar="JSON", help="what to train; keys as in assignment.json")
    parser.add_argument("--while-pid", type=int, help="end when this process is gone")
    options = parser.parse_args(arguments)
    if options.while_pid is not None:
        end_with(options.while_pid)
    try:
        paths = Paths(options.directory)
        if options.new is not None:
            Assignment.of(documents.parse(options.new, "--new")).write(paths)
        keep_freed_memory()
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        return 0 if run(Assignment.read(paths), paths) else STOPPED
    except GapsmithError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1


def run(assignment: Assignment, paths: Paths) -> bool:
    """Train, measure and save; False if told to stop before the end.

    Raises:
        GapsmithError: what ``Trainable.base_training`` and ``train`` raise; UnavailableError if another process trains
            in the folder, or if Horovod is not installed.
    """
    group = join()
    counted = (
        assignment.device
        if int(os.environ.get("HOROVOD_LOCAL_RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
        else "cpu"
    )
    with alone(paths.folder), EnergyMeter(device=counted, directory=paths.energy) as meter:
        torch.manual_seed(assignment.seed)
        architecture = trainable(assignment.architecture)
        base = architecture.base_training(assignment.config or architecture.default_config(), assignment.options(paths))
        plan = assignment.plan(base.recipe)
        source = base.source(group, batch_size=assignment.batch_size(base.recipe))
        reporter = Reporter(assignment, paths, base, meter)
        model, state = train(
            architecture,
            base.model,
            source,
            plan,
            directory=paths.state,
            communicator=group,
            on_progress=reporter.report,
            should_stop=paths.stop.exists,
        )
        reporter.close()
        fingerprints = group.gather(parameter_fingerprint(model))
        processes, first = group.size, group.rank == 0
        group.leave()
        if plan.progress(state.step, state.elapsed_s) < 1.0 and paths.stop.exists():
            return False
        if any(not torch.equal(fingerprint, fingerprints[0]) for fingerprint in fingerprints):
            raise CheckpointError(f"the ranks ended with different parameters: {fingerprints}")
        if first:
            print("measuring", flush=True)
            finish(assignment, paths, base, state, processes, meter)
    return True


class Reporter:
    """Tells of a training: on standard output, in ``progress.json``, in ``metrics/`` as JSON lines and for TensorBoard."""

    def __init__(self, assignment: Assignment, paths: Paths, base: BaseTraining, meter: EnergyMeter) -> None:
        self._paths, self._base, self._meter, self._look_every_s = paths, base, meter, assignment.look_every_s
        self._batch = assignment.batch_size(base.recipe) * assignment.accumulate
        self._writer = MetricsWriter(paths.metrics)
        self._looked = self._at = time.monotonic()
        self._step: int | None = None

    def report(self, state: TrainingState, rate: float) -> None:
        """Called by rank 0 every so many steps."""
        now = time.monotonic()
        speed = None if self._step is None else (state.step - self._step) * self._batch / (now - self._at)
        self._meter.write()
        energy = total(self._paths.energy)
        point = Point(state.step, state.elapsed_s, state.losses, rate, speed, None if energy is None else energy.kwh)
        losses = " ".join(f"{name} {value:.4f}" for name, value in state.losses.items())
        samples = "" if speed is None else f" {speed:.0f} samples/s"
        print(f"step {state.step} {state.elapsed_s:.0f} s{samples} rate {rate:.2e} {losses}", flush=True)
        held_out: dict[str, float] = {}
        if now - self._looked > self._look_every_s:
            held_out = self._base.look()
            self._base.model.train()
            self._looked = time.monotonic()
            print("held out " + " ".join(f"{name} {value:.4f}" for name, value in held_out.items()), flush=True)
        self._writer.write(point)
        measured = energy is not None and energy.measured
        progress = {**asdict(point), "energy_measured": measured, "held_out": held_out}
        with suppress(OSError):  # a full disk ends a training when its state cannot be saved, not before
            write_atomically(self._paths.progress, json.dumps(progress).encode())
        self._step, self._at = state.step, time.monotonic()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


def finish(
    assignment: Assignment, paths: Paths, base: BaseTraining, state: TrainingState, processes: int, meter: EnergyMeter
) -> None:
    """Measure the trained model and write its weights with their card."""
    found = base.finish()
    meter.write()
    energy = total(paths.energy)
    gpu = torch.cuda.get_device_name() if assignment.device.startswith("cuda") else None
    batch = assignment.batch_size(base.recipe) * assignment.accumulate
    card = {
        **found,
        "training": {
            "steps": state.step,
            "molecules_seen": state.step * batch,
            "wall_s": round(state.elapsed_s),
            "skipped_steps": state.skipped,
            "losses": state.losses,
            "batch_size": batch,
            "optimizer": base.recipe.optimizer,
            "learning_rate": base.recipe.learning_rate,
            "seed": assignment.seed,
            "device": gpu or "cpu",
            "processes": processes,
            "threads": torch.get_num_threads(),
            "energy": None if energy is None else asdict(energy),
        },
        "licence": "Apache-2.0",
        "created": time.strftime("%Y-%m-%d", time.gmtime()),
        "torch": torch.__version__,
    }
    own = trainable(assignment.architecture)
    weights = paths.weights(own.role, assignment.seed)
    save_model(
        weights,
        base.model,
        role=own.role,
        architecture=own.architecture,
        domain=base.domain(),
        config=base.config,
        card=card,
        half=True,
    )
    print(f"saved {weights}", flush=True)


if __name__ == "__main__":
    end_process(main())
