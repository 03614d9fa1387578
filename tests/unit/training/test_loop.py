"""The training loop: exact resume, schedule, averages, faults."""

import dataclasses
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.training.averages import LossAverages, WeightAverage
from gapsmith.training.communicator import SingleProcess, parameter_fingerprint
from gapsmith.training.loop import TrainingPlan, TrainingState, train
from gapsmith.training.resume import Run

PLAN = TrainingPlan(steps=20, learning_rate=1e-2, warmup_steps=4, seed=3)


class Regression:
    """Learns a linear function with a network that drops out, so that random numbers matter."""

    kind = "regression"

    def __init__(self, *, broken_at: tuple[int, ...] = ()) -> None:
        self.broken_at, self.calls = broken_at, 0

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean squared error; not a number in the chosen calls."""
        x, y = batch
        loss = (model(x) - y).square().mean()
        if self.calls in self.broken_at:
            loss = loss * math.nan
        self.calls += 1
        return {"loss": loss, "double": 2 * loss}


class Batches:
    """Eight rows a step."""

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> tuple[Tensor, Tensor]:
        """One rank's share."""
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return x[rank::size], (x @ torch.tensor([[1.0], [-2.0], [0.5]]))[rank::size]


def network(seed: int = 0) -> nn.Module:
    """A small network with a buffer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.SiLU(), nn.Linear(16, 1))


def run(model: nn.Module, plan: TrainingPlan = PLAN, **options: Any) -> tuple[nn.Module, TrainingState]:
    """Train on the regression."""
    return train(options.pop("trainable", Regression()), model, Batches(), plan, **options)


def stop_before(step: int) -> Any:
    """A should_stop that lets ``step`` steps happen."""
    asked = iter(range(step + 1))
    return lambda: next(asked) == step


def same(left: nn.Module, right: nn.Module) -> bool:
    """Whether all parameters and buffers are equal to the bit."""
    other = right.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in left.state_dict().items())


@pytest.mark.parametrize("stops", [[10], [1, 7, 13], [0]])
def test_resumed_run_ends_in_the_same_bits(tmp_path: Path, stops: list[int]) -> None:
    whole, whole_state = run(network())
    done = 0
    for stop in stops:
        _, state = run(network(), directory=tmp_path, should_stop=stop_before(stop - done))
        assert state.step == stop
        done = stop
    pieces, state = run(network(seed=9), directory=tmp_path)  # the random start is replaced by the saved one
    assert state.step == 20
    assert same(whole, pieces)
    if stops != [0]:
        assert state.losses == pytest.approx(whole_state.losses)


def test_different_seed_ends_elsewhere() -> None:
    other, _ = run(network(), dataclasses.replace(PLAN, seed=4))
    assert not same(run(network())[0], other)


@pytest.mark.slow
def test_it_learns() -> None:
    plan = TrainingPlan(steps=300, learning_rate=2e-2, warmup_steps=10, ema_decay=0.9)
    model, state = run(nn.Linear(3, 1), plan)
    assert model.state_dict()["weight"].flatten().tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.02)
    assert state.losses["double"] == pytest.approx(2 * state.losses["loss"])
    assert not model.training


def test_result_is_the_average_and_the_saved_state_is_not(tmp_path: Path) -> None:
    model, _ = run(network(), directory=tmp_path)
    raw = network()
    found = Run(raw, torch.optim.AdamW(raw.parameters()))
    found.load(tmp_path)
    assert found.state.step == 20
    assert not same(raw, model)
    assert all(torch.equal(tensor, found.average.tensors[name]) for name, tensor in model.state_dict().items())


def test_average_of_weights_known_answer() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = WeightAverage(model)
    nn.init.constant_(model.weight, 1.0)
    average.update(0.75)
    average.update(0.75)
    assert average.tensors["weight"].item() == pytest.approx(1 - 0.75**2)


def test_average_of_losses_leaves_out_what_is_not_finite() -> None:
    means = LossAverages({"a": 4.0})
    for step, value in enumerate([1.0, math.nan, math.inf, 3.0], start=1):
        means.add({"b": torch.tensor(value), "never": torch.tensor(math.nan)}, step)
    assert means.read() == {"a": 4.0, "b": pytest.approx(1.0 + (3.0 - 1.0) / 4)}


@given(step=st.integers(0, 10_000), steps=st.integers(1, 10_000), warm=st.integers(0, 500))
def test_schedule_stays_between_zero_and_the_peak(step: int, steps: int, warm: int) -> None:
    plan = TrainingPlan(steps=steps, learning_rate=0.1, warmup_steps=warm)
    progress = plan.progress(step, 1e9)
    assert 0 <= progress <= 1
    assert 0 <= plan.rate(step, progress) <= 0.1


def test_schedule_known_answers() -> None:
    plan = TrainingPlan(steps=100, time_budget_s=10, learning_rate=1.0, warmup_steps=10)
    assert plan.rate(0, 0.0) == pytest.approx(0.1)
    assert plan.rate(50, 0.5) == pytest.approx(0.5)
    assert plan.rate(100, 1.0) == pytest.approx(0.0)
    assert plan.progress(10, 9.0) == pytest.approx(0.9)
    with pytest.raises(InputError, match="steps or time_budget_s"):
        TrainingPlan()


def test_time_budget_counts_resumed_runs_together(tmp_path: Path) -> None:
    plan = TrainingPlan(time_budget_s=1000.0)
    run(network(), plan, directory=tmp_path, should_stop=stop_before(3))
    record = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**record, "elapsed_s": 1000.0}))
    _, state = run(network(), plan, directory=tmp_path)
    assert state.step == 3


def test_step_that_is_not_finite_is_skipped() -> None:
    model, state = run(network(), trainable=Regression(broken_at=(2, 5)))
    assert state.skipped == 2
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    with pytest.raises(InputError, match="not finite for 20 steps"):
        run(network(), TrainingPlan(steps=50), trainable=Regression(broken_at=tuple(range(10, 40))))


@pytest.mark.slow
def test_steps_that_are_not_finite_lower_the_rate_for_a_while(tmp_path: Path) -> None:
    rates: list[float] = []
    plan = TrainingPlan(steps=400, learning_rate=1e-2, warmup_steps=1, seed=3, report_every_steps=1)
    run(
        network(),
        plan,
        trainable=Regression(broken_at=(50, 52)),
        directory=tmp_path,
        on_progress=lambda state, rate: rates.append(rate / plan.rate(state.step - 1, (state.step - 1) / 400)),
    )
    assert rates[50] == pytest.approx(1.0)
    assert rates[51] == pytest.approx(0.5)
    assert rates[53] == pytest.approx(0.25)
    assert rates[140] == pytest.approx(0.25)
    assert rates[200] == pytest.approx(0.5)
    assert rates[300] == pytest.approx(1.0)


def test_a_lowered_rate_outlives_a_stop(tmp_path: Path) -> None:
    broken = (3, 4)
    whole, _ = run(network(), trainable=Regression(broken_at=broken))
    stopped = Regression(broken_at=broken)
    run(network(), trainable=stopped, directory=tmp_path, should_stop=stop_before(8))
    resumed, state = run(network(1), trainable=Regression(), directory=tmp_path)
    assert state.halvings > 0
    assert same(resumed, whole)


def test_the_last_good_weights_are_kept_when_nothing_helps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the last good weights are kept"):
        run(
            network(),
            trainable=Regression(broken_at=tuple(range(8, 40))),
            plan=dataclasses.replace(PLAN, steps=60),
            directory=tmp_path,
        )
    kept = network(1)
    found = Run(kept, torch.optim.AdamW(kept.parameters()))
    found.load(tmp_path)
    assert found.state.skipped == 20
    assert all(bool(torch.isfinite(p).all()) for p in found.tensors().values())


def test_progress_is_told_every_so_often() -> None:
    told: list[tuple[int, bool]] = []
    plan = dataclasses.replace(PLAN, report_every_steps=6)
    run(network(), plan, on_progress=lambda state, rate: told.append((state.step, "loss" in state.losses and rate > 0)))
    assert told == [(6, True), (12, True), (18, True)]


class Meeting:
    """Where the threads of a group exchange what they have."""

    def __init__(self, size: int) -> None:
        self.barrier, self.size = threading.Barrier(size, timeout=30), size
        self.slots: list[Any] = [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Everyone's values, on everyone."""
        self.slots[rank] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class ThreadGroup(SingleProcess):
    """Ranks that are threads; one may be lost, as elastic groups lose them, at a step of its own."""

    def __init__(self, meeting: Meeting, rank: int, *, fails_at: int | None = None) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.gathered, self.fails_at, self.steps = 0, fails_at, 0

    def gather(self, value: Tensor) -> list[Tensor]:
        """All ranks' values."""
        self.gathered += 1
        found: list[Tensor] = self.meeting.exchange(self.rank, value)
        return found

    def broadcast(self, data: bytes, root: int) -> bytes:
        """The root's bytes."""
        return bytes(self.meeting.exchange(self.rank, data)[root])

    def average_gradients(self, model: nn.Module) -> None:
        """Means; at the fatal step all ranks fail in the middle, as when one of them is gone."""
        self.steps += 1
        if self.steps == self.fails_at:
            raise ConnectionError("a rank is gone")
        mine = [p.grad for p in model.parameters() if p.grad is not None]
        everyone = self.meeting.exchange(self.rank, [gradient.clone() for gradient in mine])
        for gradient, *others in zip(mine, *everyone, strict=True):
            gradient.copy_(torch.stack(others).mean(0))

    def survive(self, run: Run, body: Callable[[], Any]) -> Any:
        """Go back to the last commit and on."""
        while True:
            try:
                return body()
            except ConnectionError:
                run.restore()
                self.generation += 1

    def commit(self, run: Run) -> None:
        """Keep it."""
        run.commit()


def together(
    directories: list[Path | None], *, fails_at: int | None = None, steps: int = 40
) -> tuple[list[nn.Module], list[ThreadGroup]]:
    """Train a linear model in as many threads."""
    meeting = Meeting(len(directories))
    groups = [ThreadGroup(meeting, rank, fails_at=fails_at) for rank in range(meeting.size)]
    models: list[Any] = [None] * meeting.size
    plan = dataclasses.replace(PLAN, steps=steps)

    def rank(number: int) -> None:
        trainable: Any = Regression()
        models[number], _ = train(
            trainable, starts[number], Batches(), plan, directory=directories[number], communicator=groups[number]
        )

    torch.manual_seed(0)
    starts = [nn.Linear(3, 1) for _ in groups]  # every rank begins with weights of its own
    threads = [threading.Thread(target=rank, args=(number,)) for number in range(meeting.size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return models, groups


def test_ranks_begin_and_end_with_the_same_weights_and_agree_every_few_steps_only() -> None:
    (first, second), groups = together([None, None])
    assert same(first, second)
    # the start: whose run is furthest on; then the clocks at steps 0, 8, 16, 24, 32 and 40
    assert [group.gathered for group in groups] == [1 + 6, 1 + 6]


def test_rank_that_is_lost_costs_the_steps_since_the_last_commit_and_changes_nothing() -> None:
    (whole, _), _ = together([None, None])
    (first, second), groups = together([None, None], fails_at=30)
    assert same(first, second)
    assert same(first, whole)
    assert groups[0].generation == 1
    assert groups[0].steps == 40 + 30 - 16  # the failed 30th and the 13 after the commit before step 17 are done again


def test_rank_without_the_saved_run_gets_it_from_the_one_that_has_it(tmp_path: Path) -> None:
    (whole, _), _ = together([tmp_path / "a", None], steps=20)
    run_of_20 = json.loads((tmp_path / "a" / "state.json").read_text())
    assert run_of_20["step"] == 20
    (first, second), groups = together([tmp_path / "a", tmp_path / "elsewhere"], steps=20)
    assert same(first, second)
    assert same(first, whole)
    assert groups[0].steps == 0


def test_run_comes_back_to_its_commit_and_out_of_its_bytes() -> None:
    model = network()
    run_ = Run(model, torch.optim.AdamW(model.parameters(), lr=0.1))

    def step() -> None:
        model(torch.ones(4, 3)).sum().backward()
        run_.optimizer.step()
        run_.average.update(0.5)
        run_.state.step += 1
        run_.state.losses["loss"] = float(run_.state.step)

    step()
    run_.commit()
    kept = {name: tensor.clone() for name, tensor in run_.tensors().items()}
    packed = run_.pack()
    step()
    step()
    assert any(not torch.equal(tensor, kept[name]) for name, tensor in run_.tensors().items())
    run_.restore()
    step()
    run_.restore()  # what trained on after the first time did not change the commit
    assert all(torch.equal(tensor, kept[name]) for name, tensor in run_.tensors().items())
    assert (run_.state.step, run_.state.losses) == (1, {"loss": 1.0})
    other = network(seed=5)
    copy = Run(other, torch.optim.AdamW(other.parameters(), lr=0.1))
    copy.unpack(packed)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in copy.tensors().items())
    assert copy.state == run_.state
    with pytest.raises(CheckpointError, match="no run"):
        copy.unpack(packed[: len(packed) // 2])


def test_accumulated_batches_are_one_larger_batch() -> None:
    class Halves(Batches):
        """Every batch of the other source in two halves."""

        def batch(self, step: int, *, rank: int = 0, size: int = 1) -> tuple[Tensor, Tensor]:
            """Half a batch."""
            x, y = super().batch(step // 2)
            return x[4 * (step % 2) : 4 * (step % 2) + 4], y[4 * (step % 2) : 4 * (step % 2) + 4]

    torch.manual_seed(0)
    whole, parts = nn.Linear(3, 1), nn.Linear(3, 1)
    parts.load_state_dict(whole.state_dict())
    run(whole)
    train(Regression(), parts, Halves(), dataclasses.replace(PLAN, accumulate=2))  # type: ignore[arg-type]  # of it, only the loss
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_damaged_run_is_refused(tmp_path: Path) -> None:
    run(network(), directory=tmp_path, should_stop=stop_before(5))
    tensors, record = tmp_path / "state-5.safetensors", (tmp_path / "state.json").read_text()
    good = tensors.read_bytes()

    tensors.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="SHA-256"):
        run(network(), directory=tmp_path)
    tensors.write_bytes(good[: len(good) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(network(), directory=tmp_path)
    tensors.write_bytes(good)
    with pytest.raises(CheckpointError, match="another model"):
        run(nn.Linear(3, 1), directory=tmp_path)
    for text in ("{", "[]", json.dumps({"step": 5})):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"state\.json"):
            run(network(), directory=tmp_path)
    (tmp_path / "state.json").write_text(record)
    assert run(network(), directory=tmp_path)[1].step == 20


def test_only_the_last_save_is_kept(tmp_path: Path) -> None:
    run(network(), dataclasses.replace(PLAN, save_every_s=0.0), directory=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-20.safetensors", "state.json"]


@given(index=st.integers(0, 3 * 16 - 1))
def test_fingerprint_sees_every_parameter(index: int) -> None:
    model = network()
    before = parameter_fingerprint(model)
    with torch.no_grad():
        model.state_dict()["0.weight"].view(-1)[index] += 1e-3
    assert not torch.equal(before, parameter_fingerprint(model))


def test_fingerprint_sees_a_swap() -> None:
    model = network()
    before = parameter_fingerprint(model)
    with torch.no_grad():
        weight = model.state_dict()["0.weight"]
        weight.copy_(weight.flip(0))
    assert not torch.equal(before, parameter_fingerprint(model))
