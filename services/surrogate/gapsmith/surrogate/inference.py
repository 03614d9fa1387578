"""Predictions of an ensemble for many molecules, batched by pairs of atoms, so that memory is bounded by the batch.

An ensemble is one network with many last layers (shallow), several networks (deep), or several with many: members are
members, whatever they share. The difference of a network's mean from its contrast's, if it has one, adds to the
deviation: it grows where the molecules are unlike the training data.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.graph import Graph, graph, with_electronic
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.quantities import FORCES, quantity

PAIRS_PER_BATCH = {"cpu": 8_000, "cuda": 400_000}


@dataclass(frozen=True)
class Predicted:
    """What the members say together, in the order of the molecules or of their atoms, in base units, uncalibrated."""

    mean: dict[str, np.ndarray]  # (molecules,) or (atoms,) float64; forces (atoms, 3)
    std: dict[str, np.ndarray]  # the same, members' spread, noise and difference together; not of forces
    dipole_debye: np.ndarray  # (molecules, 3) float64, zero without such a head
    latent: np.ndarray  # (molecules, latent) float32, of the first network
    difference: np.ndarray  # (molecules,) float64, of the gap from the contrasts', root mean square; zero without one
    members: dict[str, np.ndarray]  # of quantities of whole molecules: (molecules, members) from the mean

    def spread(self, molecules: np.ndarray, atoms: np.ndarray) -> "Predicted":
        """The same for more molecules and atoms: those where it is true, the others are NaN throughout."""
        if molecules.all():
            return self

        def whole(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
            found = np.full((len(rows), *array.shape[1:]), np.nan, array.dtype)
            found[rows] = array
            return found

        rows = {"graph": molecules, "node": atoms}
        mean, std = (
            {name: whole(array, rows[quantity(name).kind]) for name, array in part.items()}
            for part in (self.mean, self.std)
        )
        members = {name: whole(array, molecules) for name, array in self.members.items()}
        dipole, latent, difference = (
            whole(array, molecules) for array in (self.dipole_debye, self.latent, self.difference)
        )
        return Predicted(mean, std, dipole, latent, difference, members)


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

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    found = graph(
        put(molecules.numbers.astype(np.int64)), put(molecules.coordinates.astype(np.float32)), molecules.sizes
    )
    if (seen := molecules.electronic) is None:
        return found
    counts, pairs = put(seen.pair_counts.astype(np.int64)), put(seen.pairs.astype(np.int64))
    levels, orders = put(seen.orbital_energies_ev), put(seen.bond_orders)
    return with_electronic(found, levels, put(seen.atoms), pairs, orders, counts, len(pairs))


def predict_molecules(
    models: Sequence[SurrogateNetwork],
    molecules: Molecules,
    *,
    device: str = "cpu",
    wanted: Collection[str] | None = None,
) -> Predicted:
    """Predict ``wanted`` heads of all molecules, or all but forces."""
    names = [name for name in models[0].names if (name != FORCES if wanted is None else name in wanted)]
    training = {model: model.training for model in models}
    for model in training:
        model.eval()
    rows = {"graph": (len(molecules),), "node": (len(molecules.numbers),)}
    shapes = {name: rows[quantity(name).kind] + ((3,) if name == FORCES else ()) for name in names}
    mean = {name: np.zeros(shape) for name, shape in shapes.items()}
    std = {name: np.zeros(shape) for name, shape in shapes.items() if name != FORCES}
    dipole, difference = np.zeros((len(molecules), 3)), np.zeros(len(molecules))
    latent = np.zeros((len(molecules), models[0].config.trunk.latent), np.float32)
    members: dict[str, np.ndarray] = {}
    for chosen in batches(molecules, pairs_per_batch(device)):
        atoms = np.concatenate([np.arange(molecules.offsets[i], molecules.offsets[i + 1]) for i in chosen])
        with torch.inference_mode(mode=FORCES not in names):
            batch = as_graph(molecules.take(chosen), device)
            outputs = [model(batch, names) for model in models]
            contrasts = [model.contrast(batch, names) for model in models if model.contrast is not None]
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
            middle = means.mean(-1)
            variance = torch.cat(noises, dim=-1).mean(-1) + means.var(-1, unbiased=False)
            strays = [(means - middle[:, None]).double()]
            if different := [middle - x.heads[name].mean.mean(-1) for x in contrasts if name in x.heads]:
                squared = torch.stack(different).square().mean(0)
                variance = variance + squared
                if name == "gap":
                    difference[chosen] = squared.sqrt().cpu().numpy()
                # as much for each network that differs as all members have together
                strays.append(torch.stack(different, dim=1).double() * (means.shape[1] / len(different)) ** 0.5)
            mean[name][where] = middle.cpu().numpy()
            std[name][where] = variance.sqrt().cpu().numpy()
            if quantity(name).kind == "graph":
                found = torch.cat(strays, dim=1).cpu().numpy()
                members.setdefault(name, np.zeros((len(molecules), found.shape[1])))[where] = found
        if "dipole" in names:
            vectors = torch.stack([_vector(output.heads["dipole"].vector) for output in outputs])
            dipole[chosen] = vectors.mean(0).cpu().numpy()
        latent[chosen] = outputs[0].latent.detach().float().cpu().numpy()
    for model, before in training.items():
        model.train(before)
    return Predicted(mean, std, dipole, latent, difference, members)


def _vector(vector: torch.Tensor | None) -> torch.Tensor:
    assert vector is not None  # a dipole head always has one
    return vector.detach()
