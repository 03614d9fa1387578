"""Muon and AdamW as one optimizer: what a step is, what it leaves alone, and that it finds minima."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gapsmith.core.errors import InputError
from gapsmith.training.optimizer import MuonAdamW, inner_matrices, make, orthogonalised
from gapsmith.training.resume import Run


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 48), nn.SiLU(), nn.Linear(48, 1))


@pytest.mark.parametrize("shape", [(3, 24, 96), (2, 96, 24), (1, 32, 32)])
def test_orthogonalised_matrices_keep_directions_and_lose_sizes(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    matrices = torch.randn(shape) * torch.logspace(-1, 1, shape[-1])
    made = orthogonalised(matrices)
    left, before, right = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.einsum("nir,nij,nrj->nr", left, made, right)
    large = before > 0.05 * before[:, :1]
    assert ((values > 0.5) & (values < 1.3))[large].all()
    around = made - torch.einsum("nir,nr,nrj->nij", left, values, right)
    assert around.abs().max() < 1e-3  # nothing but what was there


def test_matrices_between_hidden_features_are_muons() -> None:
    model = network()
    assert [tuple(matrix.shape) for matrix in inner_matrices(model)] == [(48, 32)]
    model[2].weight.requires_grad_(False)
    assert inner_matrices(model) == []


def test_all_else_is_stepped_as_by_adamw() -> None:
    models = [nn.Linear(5, 3), nn.Linear(5, 3)]
    models[1].load_state_dict(models[0].state_dict())
    ours = MuonAdamW([], models[0].parameters(), lr=1e-2, weight_decay=0.1)
    theirs = torch.optim.AdamW(models[1].parameters(), lr=1e-2, weight_decay=0.1)
    torch.manual_seed(2)
    for _ in range(20):
        x = torch.randn(8, 5)
        for model, optimizer in zip(models, (ours, theirs), strict=True):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


def test_steps_of_matrices_are_as_long_as_adamws() -> None:
    model = network()
    optimizer = make("muon", model, lr=1e-2, weight_decay=0.0)
    matrix = model[2].weight
    assert isinstance(matrix, nn.Parameter)
    before = matrix.detach().clone()
    model(torch.randn(64, 4)).square().mean().backward()
    optimizer.step()
    step = (matrix.detach() - before).square().mean().sqrt()
    assert 0.05 * 1e-2 < step < 0.3 * 1e-2


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_function_is_learnt(kind: str) -> None:
    model = network()
    optimizer = make(kind, model, lr=3e-3, weight_decay=1e-4)
    torch.manual_seed(3)
    x = torch.randn(256, 4)
    y = torch.sin(x.sum(1, keepdim=True))
    for _ in range(400):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * y.var()


def test_broken_gradients_leave_finite_weights() -> None:
    model = network()
    optimizer = make("muon", model, lr=1e-2, weight_decay=0.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    optimizer.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old)


def test_a_resumed_run_steps_as_one_that_never_stopped(tmp_path: Path) -> None:
    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            optimizer.zero_grad()
            x = torch.randn(16, 4, generator=torch.Generator().manual_seed(number))
            model(x).square().mean().backward()
            optimizer.step()

    whole, first = network(), network()
    steps(whole, make("muon", whole, lr=1e-2, weight_decay=0.1), range(10))
    optimizer = make("muon", first, lr=1e-2, weight_decay=0.1)
    steps(first, optimizer, range(5))
    run = Run(first, optimizer)
    run.state.step = 5
    run.save(tmp_path)
    second = network()
    optimizer = make("muon", second, lr=1e-2, weight_decay=0.1)
    found = Run(second, optimizer)
    found.load(tmp_path)
    assert found.state.step == 5
    steps(second, optimizer, range(5, 10))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="adamw or muon, got 'sgd'"):
        make("sgd", network(), lr=1e-3, weight_decay=0.0)
