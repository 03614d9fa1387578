"""What a base training is to do: its file, its plan for several processes, and gradients on their way between them."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gapsmith.core.documents import read
from gapsmith.core.errors import DataError, InputError
from gapsmith.trainer.assignment import Assignment, Paths, Scaling
from gapsmith.trainer.gradients import Gradients
from gapsmith.trainer.processes import under_horovod
from gapsmith.training.configuration import changed
from gapsmith.training.protocol import Recipe

SECTION = {
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "warmup_steps": 10,
    "ema_decay": 0.99,
}
RECIPE = Recipe.of(SECTION, "training")


def test_assignment_is_what_was_written(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run")
    wanted = Assignment(
        architecture="equivariant_gnn", config={"a": {"b": 1}}, time_budget_s=60.0, processes=3, scaling="sqrt"
    )
    wanted.write(paths)
    assert Assignment.read(paths) == wanted
    paths.assignment.write_text("{")
    with pytest.raises(DataError, match="begin it again"):
        Assignment.read(paths)
    paths.assignment.write_text(json.dumps({"architecture": "equivariant_gnn", "colour": "blue"}))
    with pytest.raises(InputError, match="has no colour"):
        Assignment.read(paths)


@pytest.mark.parametrize(
    ("scaling", "batch", "factor"), [("none", 32, 1.0), ("sqrt", 128, math.sqrt(8)), ("linear", 128, 8.0)]
)
def test_rate_grows_with_the_batch_only_where_it_is_asked_to(scaling: Scaling, batch: int, factor: float) -> None:
    wanted = Assignment(architecture="equivariant_gnn", steps=100, processes=4, accumulate=2, scaling=scaling)
    assert wanted.batch_size(RECIPE) == batch
    plan = wanted.plan(RECIPE)
    assert plan.learning_rate == pytest.approx(1e-3 * factor)
    assert plan.rate(0, 0.0) == pytest.approx(plan.learning_rate / 10)  # the first of ten steps of warm-up


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "must be above 0"),
        ({"learning_rate": math.nan}, "training.learning_rate must be a number"),
        ({"ema_decay": 1.0}, "below 1"),
        ({"warmup_steps": "ten"}, "training.warmup_steps must be a number"),
        ({"momentum": 0.9}, "momentum unknown or missing"),
    ],
)
def test_impossible_recipes_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe.of({**SECTION, **change}, "training")


def test_configurations_are_read_and_changed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("training: {batch_size: 8}\n")
    found = read(tmp_path / "a.yaml")
    assert changed(found, ["training.batch_size=16"]) == {"training": {"batch_size": 16}}
    assert found == {"training": {"batch_size": 8}}
    for text, message in [("- 1\n", "must hold keys"), ("a: [", "is not YAML")]:
        (tmp_path / "b.yaml").write_text(text)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "b.yaml")


@given(values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8), half=st.booleans())
def test_gradients_travel_and_come_back(values: list[float], half: bool) -> None:
    model = nn.ModuleList([nn.Linear(len(values), 1, bias=False), nn.Linear(2, 2), nn.Linear(1, 1)])
    model[2].requires_grad_(False)
    model[0].weight.grad = torch.tensor([values])
    travelling = Gradients.of(model, half=half)
    assert len(travelling.tensors) == 1 + 3  # who has one; the first layer's, and the second's two
    assert travelling.tensors[1].dtype == (torch.float16 if half else torch.float32)
    travelling.put_back()
    assert model[0].weight.grad.dtype == torch.float32
    torch.testing.assert_close(model[0].weight.grad, torch.tensor([values]), rtol=1e-3 if half else 0, atol=1e-3)
    assert model[1].weight.grad is None  # no rank has one


@given(processes=st.integers(2, 64))
def test_one_machine_counts_as_two_hosts_with_all_processes(processes: int) -> None:
    line = under_horovod(["python"], processes, "lo", Path("run"))
    hosts = dict(host.split(":") for host in line[line.index("-H") + 1].split(","))
    assert sum(map(int, hosts.values())) == processes
    assert len(hosts) == 2
    assert min(map(int, hosts.values())) >= 1
