"""Noise that is fitted to molecules outside the training: it finds what is uncertain and moves no mean."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.noise import Evidence, fit, refit

pytestmark = pytest.mark.slow

HEADS = ("gap", "homo", "lumo", "mulliken_charge")


def noisy(model: SurrogateNetwork, molecules: Molecules, seed: int) -> tuple[Molecules, np.ndarray, np.ndarray]:
    """Labels that are the network's own predictions with noise, ten times as large in large molecules and on hydrogens."""
    predicted = predict_molecules([model], molecules, wanted=HEADS)
    draw = np.random.default_rng(seed)
    sigma = np.where(molecules.sizes > 5, 2.0, 0.2)
    graph = dict(molecules.graph)
    for name in HEADS[:3]:
        graph[name] = predicted.mean[name] + draw.standard_normal(len(sigma)) * sigma
    atoms = np.where(molecules.numbers == 1, 2.0, 0.2)
    charges = predicted.mean["mulliken_charge"] + draw.standard_normal(len(atoms)) * atoms
    return replace(molecules, graph=graph, node={"mulliken_charge": charges.astype(np.float32)}), sigma, atoms


@pytest.fixture(scope="module")
def model(small: SimpleNamespace) -> SurrogateNetwork:
    found: SurrogateNetwork = small.network().float()
    return found


def test_noise_of_known_size_is_found() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(6000, 12, generator=draw)
    sigma = torch.exp(0.8 * features[:, 0] - 1)
    laplace = torch.distributions.Laplace(0.0, 0.5**0.5)  # of variance one
    torch.manual_seed(1)
    error, spread = laplace.sample((6000,)) * sigma, 0.1 * sigma**2
    noise = nn.Sequential(nn.Linear(12, 32), nn.SiLU(), nn.Linear(32, 5))
    fit(noise, Evidence(features[:5000], error[:5000], spread[:5000]))
    with torch.no_grad():
        found = (noise(features[5000:]).exp().mean(-1) + spread[5000:]).sqrt()
    ratio = (found / sigma[5000:]).log()
    assert ratio.mean().abs() < 0.1
    assert ratio.std() < 0.2  # of 0.8 without having looked


def test_errors_are_expected_as_large_as_they_are_and_no_mean_moves(
    model: SurrogateNetwork, small: SimpleNamespace
) -> None:
    molecules, _, _ = noisy(model, small.labelled(1200, seed=1), 1)
    unseen, sigma, atoms = noisy(model, small.labelled(300, seed=2), 2)
    before = predict_molecules([model], unseen, wanted=HEADS)
    others = {name: tensor.clone() for name, tensor in model.state_dict().items() if "noise" not in name}
    refit(model, molecules)
    after = predict_molecules([model], unseen, wanted=HEADS)
    for name in HEADS:
        assert np.array_equal(after.mean[name], before.mean[name])
        truth = atoms if name == "mulliken_charge" else sigma
        assert truth.min() < np.median(after.std[name]) < truth.max()
        assert np.median(before.std[name]) < truth.min()
    for name, tensor in others.items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_heads_without_labels_are_left_alone(model: SurrogateNetwork, small: SimpleNamespace) -> None:
    molecules, *_ = noisy(model, small.labelled(50, seed=3), 3)
    before = {name: tensor.clone() for name, tensor in model.head("dipole").noise.state_dict().items()}
    refit(model, molecules.only(("gap",)))
    assert all(torch.equal(model.head("dipole").noise.state_dict()[name], tensor) for name, tensor in before.items())
