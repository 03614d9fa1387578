"""The heads' noise once more, on molecules that were not trained on.

Training fits it to errors on the training molecules, which become smaller than those on others, and not evenly so.
The means are left as they are: noise is read off features that are given.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.inference import as_graph, batches, pairs_per_batch
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, quantity

EPOCHS = 40
BATCH = 128
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.3
MOST_ROWS = 30_000  # of a quantity of atoms


class Evidence(NamedTuple):
    """What a head's noise is fitted to."""

    features: Tensor  # (rows, latent)
    error: Tensor  # (rows,) of the ensemble's mean, in units of the head's scale
    spread: Tensor  # (rows,) variance of the members' means, in units of the scale squared


def refit(model: SurrogateNetwork, molecules: Molecules, *, device: str = "cpu") -> None:
    """Fit the noise of every head of which the molecules have labels, in place; forces have none."""
    names = [name for name in model.names if name in molecules.labelled() and name != FORCES]
    for name, evidence in _evidence(model.eval(), molecules, names, device).items():
        noise = model.lumo_noise if name == "lumo" else model.head(name).noise
        assert noise is not None  # a LUMO has one of its own
        fit(noise, evidence)


def fit(noise: nn.Module, evidence: Evidence) -> None:
    """Laplace's likelihood, since the tails are heavy, of the members' spread and the noise together."""
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(noise.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rows = len(evidence.error)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - epoch / EPOCHS)
        for chosen in torch.split(torch.randperm(rows, generator=draw).to(evidence.error.device), BATCH):
            variance = torch.clamp(noise(evidence.features[chosen]), -16.0, 6.0).exp().mean(-1)
            sigma = (variance + evidence.spread[chosen]).sqrt()
            loss = (sigma.log() + 2**0.5 * evidence.error[chosen].abs() / sigma).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
            optimizer.step()


@torch.no_grad()
def _evidence(model: SurrogateNetwork, molecules: Molecules, names: list[str], device: str) -> dict[str, Evidence]:
    found: dict[str, list[Evidence]] = {name: [] for name in names}
    for chosen in batches(molecules, pairs_per_batch(device)):
        part = molecules.take(chosen)
        output = model(as_graph(part, device), names)
        for name in names:
            target = torch.from_numpy(np.asarray(part.labels[name], np.float64)).to(device)
            known, scale = torch.isfinite(target), model.scale(name)
            means = output.heads[name].mean
            evidence = Evidence(
                output.atoms if quantity(name).kind == "node" else output.latent,
                ((means.mean(-1) - target) / scale).float(),
                (means.var(-1, unbiased=False) / scale**2).float(),
            )
            found[name].append(Evidence(*(column[known] for column in evidence)))
    return {
        name: Evidence(*(torch.cat(column)[:MOST_ROWS] for column in zip(*parts, strict=True)))
        for name, parts in found.items()
    }
