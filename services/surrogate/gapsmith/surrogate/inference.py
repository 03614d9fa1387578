"""Predictions of an ensemble for many molecules, batched by pairs of atoms, so that memory is bounded by the batch.

An ensemble is one network with many last layers (shallow), several networks (deep), or several with many: members are
members, whatever they share.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.graph import Graph, graph
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, quantity

PAIRS_PER_BATCH = {"cpu": 8_000, "cuda": 400_000}


@dataclass(frozen=True)
class Predicted:
    """What the members say together, in the order of the molecules or of their atoms, in base units, uncalibrated."""

    mean: dict[str, np.ndarray]  # (molecules,) or (atoms,) float64; forces (atoms, 3)
    std: dict[str, np.ndarray]  # the same, members' spread and noise together; not of forces
    dipole_debye: np.ndarray  # (molecules, 3) float64, zero without such a head
    latent: np.ndarray  # (molecules, latent) float32, of the first network


def batches(molecules: Molecules, pairs_per_batch: int) -> Iterator[np.ndarray]:
    """Which molecules go together: like sizes, at least one, at most so many pairs of atoms."""
    order = np.argsort(molecules.sizes, kind="stable")
    pairs = np.cumsum(molecules.sizes[order] ** 2)
    start = 0
    while start < len(order):
        before = pairs[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(pairs, before + pairs_per_batch, side="right")))
        yield order[start:end]
        start = end


def pairs_per_batch(device: str) -> int:
    """What a device takes at once."""
    return PAIRS_PER_BATCH["cpu" if device == "cpu" else "cuda"]


def as_graph(molecules: Molecules, device: str) -> Graph:
    """The molecules as one batch on a device."""
    return graph(
        torch.from_numpy(molecules.numbers.astype(np.int64)).to(device),
        torch.from_numpy(molecules.coordinates.astype(np.float32)).to(device),
        molecules.sizes,
    )


def predict_molecules(
    models: Sequence[SurrogateNetwork],
    molecules: Molecules,
    *,
    device: str = "cpu",
    wanted: Collection[str] | None = None,
) -> Predicted:
    """Predict ``wanted`` heads of all molecules, or all but forces."""
    names = [name for name in models[0].names if (name != FORCES if wanted is None else name in wanted)]
    training = [model.training for model in models]
    for model in models:
        model.eval()
    rows = {"graph": (len(molecules),), "node": (len(molecules.numbers),)}
    shapes = {name: rows[quantity(name).kind] + ((3,) if name == FORCES else ()) for name in names}
    mean = {name: np.zeros(shape) for name, shape in shapes.items()}
    std = {name: np.zeros(shape) for name, shape in shapes.items() if name != FORCES}
    dipole = np.zeros((len(molecules), 3))
    latent = np.zeros((len(molecules), models[0].config.trunk.latent), np.float32)
    for chosen in batches(molecules, pairs_per_batch(device)):
        atoms = np.concatenate([np.arange(molecules.offsets[i], molecules.offsets[i + 1]) for i in chosen])
        with torch.inference_mode(mode=FORCES not in names):
            batch = as_graph(molecules.take(chosen), device)
            outputs = [model(batch, names) for model in models]
        for name in names:
            where = chosen if quantity(name).kind == "graph" else atoms
            means = torch.cat([output.heads[name].mean.detach() for output in outputs], dim=-1)
            if name == FORCES:
                mean[name][where] = means.view(len(means), len(models), 3).mean(1).cpu().numpy()
                continue
            noises = [
                output.heads[name].log_variance.detach().double().exp() * model.scale(name) ** 2
                for output, model in zip(outputs, models, strict=True)
            ]
            variance = torch.cat(noises, dim=-1).mean(-1) + means.var(-1, unbiased=False)
            mean[name][where] = means.mean(-1).cpu().numpy()
            std[name][where] = variance.sqrt().cpu().numpy()
        if "dipole" in names:
            vectors = torch.stack([_vector(output.heads["dipole"].vector) for output in outputs])
            dipole[chosen] = vectors.mean(0).cpu().numpy()
        latent[chosen] = outputs[0].latent.detach().float().cpu().numpy()
    for model, before in zip(models, training, strict=True):
        model.train(before)
    return Predicted(mean, std, dipole, latent)


def _vector(vector: torch.Tensor | None) -> torch.Tensor:
    assert vector is not None  # a dipole head always has one
    return vector.detach()
