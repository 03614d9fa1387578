"""The training loop: one for all models, from nothing or further, in one process or many."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gapsmith.core.errors import InputError
from gapsmith.training import resume
from gapsmith.training.averages import LossAverages
from gapsmith.training.communicator import Communicator, SingleProcess, synchronise
from gapsmith.training.finite import CHECK_EVERY, FiniteSteps
from gapsmith.training.optimizer import make
from gapsmith.training.protocol import BatchSource, Trainable
from gapsmith.training.resume import Run, TrainingState

__all__ = ["Progress", "TrainingPlan", "TrainingState", "train"]

AGREE_EVERY = 8  # steps between two agreements of several processes on the time and on whether to stop
COMMIT_EVERY = 16  # steps between two of the states in memory that several processes go back to when one is lost


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how to train. The learning rate warms up, then falls to zero on a cosine over steps or time."""

    steps: int | None = None  # stop after so many steps
    time_budget_s: float | None = None  # or after so many seconds, all resumed runs together
    optimizer: str = "adamw"  # or muon
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    weight_decay: float = 1e-5
    gradient_clip: float = 1.0
    accumulate: int = 1  # batches of a step
    ema_decay: float = 0.999
    seed: int = 0
    save_every_s: float = 120.0
    report_every_steps: int = 50

    def __post_init__(self) -> None:
        """Refuse a plan that would never end."""
        if self.steps is None and self.time_budget_s is None:
            raise InputError("a training plan needs steps or time_budget_s")
        if self.accumulate < 1:
            raise InputError(f"a step needs at least one batch, got accumulate {self.accumulate}")

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the plan that is done, 0 to 1."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed_s / self.time_budget_s if self.time_budget_s else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self, step: int, progress: float) -> float:
        """Learning rate at a step."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * progress))


Progress = Callable[[TrainingState, float], None]


def train(
    trainable: Trainable,
    model: nn.Module,
    source: BatchSource,
    plan: TrainingPlan,
    *,
    directory: Path | None = None,
    communicator: Communicator | None = None,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[nn.Module, TrainingState]:
    """Train ``model`` in place and return it with the exponential moving average of its weights loaded.

    Args:
        trainable: loss of the model's architecture.
        model: on its device.
        source: batches by step.
        plan: when to stop and how to step.
        directory: where rank 0 saves the run every ``plan.save_every_s``; a run that it finds there is resumed.
        communicator: the group of processes; alone if None.
        on_progress: called every ``plan.report_every_steps`` with the state and the learning rate, on rank 0.
        should_stop: asked before every step; the state is saved before returning.

    Raises:
        CheckpointError: the saved run does not fit the model or is damaged, or cannot be written.
        InputError: the loss stays not finite.
    """
    group = communicator or SingleProcess()
    run = Run(model, make(plan.optimizer, model, lr=plan.learning_rate, weight_decay=plan.weight_decay))
    model.train()

    def body() -> None:
        if directory is not None and group.rank == 0 and run.state.step == 0 and resume.saved(directory):
            run.load(directory)
        synchronise(group, run)
        _steps(trainable, source, plan, run, group, directory, on_progress, should_stop)

    group.survive(run, body)
    model.load_state_dict(run.average.tensors)
    return model.eval(), run.state


def _steps(
    trainable: Trainable,
    source: BatchSource,
    plan: TrainingPlan,
    run: Run,
    group: Communicator,
    directory: Path | None,
    on_progress: Progress | None,
    should_stop: Callable[[], bool],
) -> None:
    """Train from where the run is to its end, or to where it is told to stop."""
    model, optimizer, state = run.model, run.optimizer, run.state
    means, started, saved = LossAverages(state.losses), time.monotonic() - state.elapsed_s, time.monotonic()
    guard, skipped_before = FiniteSteps(state.step, state.halvings), state.skipped
    agreed_s = -1.0  # the time that all ranks reckon with

    def update() -> None:
        state.losses, state.elapsed_s = means.read(), time.monotonic() - started
        state.skipped, state.halvings = skipped_before + guard.skipped, guard.halvings

    def save() -> None:
        update()
        if directory is not None and group.rank == 0:
            run.save(directory)

    while True:
        if state.step % COMMIT_EVERY == 0:
            update()
            group.commit(run)
        if group.size == 1 or agreed_s < 0 or state.step % AGREE_EVERY == 0:
            agreed_s, stop = _agree(group, time.monotonic() - started, should_stop())
            if stop:
                break
        done = plan.progress(state.step, agreed_s)
        if done >= 1.0:
            break
        rate = plan.rate(state.step, done) * guard.factor
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        for part in range(plan.accumulate):
            turn = state.step * plan.accumulate + part
            # every turn has its own random numbers, so that a resumed run draws the same
            torch.manual_seed(((plan.seed * 1_000_003 + turn) * 8191 + group.rank) % 2**63)
            losses = trainable.loss(model, source.batch(turn, rank=group.rank, size=group.size))
            (losses["loss"] / plan.accumulate).backward()  # type: ignore[no-untyped-call]  # torch has no type here
        group.average_gradients(model)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), plan.gradient_clip)
        guard.step(optimizer, norm)
        if not norm.is_cuda or state.step % CHECK_EVERY == 0:
            try:
                guard.check(state.step)
            except InputError:
                save()
                raise
        run.average.update(min(plan.ema_decay, (1 + state.step) / (10 + state.step)))
        state.step += 1
        means.add(losses, state.step)
        if group.rank == 0 and on_progress is not None and state.step % plan.report_every_steps == 0:
            update()
            on_progress(state, rate)
        if time.monotonic() - saved > plan.save_every_s:
            save()
            saved = time.monotonic()
    save()


def _agree(group: Communicator, elapsed_s: float, stop: bool) -> tuple[float, bool]:
    """The slowest clock, and whether anyone wants to stop: the same on every rank."""
    everyone = torch.stack(group.gather(torch.tensor([elapsed_s, float(stop)], dtype=torch.float64)))
    return float(everyone[:, 0].max()), bool(everyone[:, 1].any())
