"""Small networks and made-up molecules."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate.data import from_geometries
from gapsmith.surrogate.graph import Graph, graph
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.trainable import build

QM9_HEADS = {
    "gap": ("graph", "eV"),
    "homo": ("graph", "eV"),
    "lumo": ("graph", "eV"),
    "dipole": ("graph", "D"),
    "polarizability": ("graph", "bohr^3"),
    "atomization_energy": ("graph", "eV"),
    "mulliken_charge": ("node", "e"),
}
XTB_HEADS = {"gfn2_gap": ("graph", "eV"), "gfn2_energy": ("graph", "eV"), "gfn2_forces": ("node", "eV/angstrom")}


def configuration(**trunk: Any) -> dict[str, Any]:
    """A tiny network with every head."""
    heads = {name: (kind, "qm9") for name, kind in QM9_HEADS.items()} | {
        name: (kind, "gfn2") for name, kind in XTB_HEADS.items()
    }
    return {
        "elements": ["H", "C", "N", "O", "F"],
        "trunk": {
            "layer": "painn",
            "layers": 2,
            "features": 16,
            "vector_features": 8,
            "radial": 12,
            "cutoff_angstrom": 4.0,
            "attention_heads": 0,
            "latent": 16,
            "electronic": False,
            **trunk,
        },
        "ensemble": {"members": 5, "bootstrap": True},
        "sources": {"qm9": {"share": 1.0, "noise_angstrom": 0.01}, "gfn2": {"share": 1.0, "noise_angstrom": 0.0}},
        "heads": {
            name: {"level": level, "unit": unit, "weight": 1.0, "sources": [source]}
            for name, ((level, unit), source) in heads.items()
        },
        "training": {
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "warmup_steps": 10,
            "ema_decay": 0.9,
            "task_weights": "fixed",
        },
    }


def only_gap() -> dict[str, Any]:
    """The same with the heads of orbitals alone, trained on QM9."""
    config = configuration()
    config["heads"] = {name: config["heads"][name] for name in ("gap", "homo", "lumo")}
    del config["sources"]["gfn2"]
    return config


def network(seed: int = 3, **trunk: Any) -> SurrogateNetwork:
    """Random weights, in double precision; heads with scales and references unlike one and zero."""
    torch.manual_seed(seed)
    model = build(configuration(**trunk)).double()
    for index, name in enumerate(model.heads):
        head = model.head(name)
        head.scale.fill_(0.5 + 0.1 * index)
        if name not in ("dipole", "mulliken_charge"):
            head.offset.fill_(-1.0 - index)
            head.reference.copy_(torch.linspace(-3, 2, 10) * (index + 1))
    return model.eval()


def molecule(seed: int, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Random elements on a jittered lattice: no two atoms coincide."""
    draw = np.random.default_rng(seed)
    sites = np.array([(i, j, k) for i in range(3) for j in range(3) for k in range(3)], dtype=np.float64)
    chosen = sites[draw.permutation(len(sites))[:atoms]] * 1.4 + draw.uniform(-0.3, 0.3, (atoms, 3))
    return draw.choice((1, 6, 7, 8, 9), atoms), chosen


def as_graph(*molecules: tuple[np.ndarray, np.ndarray]) -> Graph:
    """One batch in double precision."""
    numbers, coordinates = (np.concatenate(column) for column in zip(*molecules, strict=True))
    sizes = np.array([len(z) for z, _ in molecules])
    return graph(torch.from_numpy(numbers.astype(np.int64)), torch.from_numpy(coordinates), sizes)


def outputs(model: SurrogateNetwork, *molecules: tuple[np.ndarray, np.ndarray]) -> dict[str, Tensor]:
    """Everything that the network says: means, noises, vectors and latents."""
    output = model(as_graph(*molecules), model.names)
    found = {"latent": output.latent}
    for name, members in output.heads.items():
        found[name], found[f"{name}.noise"] = members.mean, members.log_variance
        if members.vector is not None:
            found[f"{name}.vector"] = members.vector
    return {name: tensor.detach() for name, tensor in found.items()}


def labelled(count: int, seed: int = 0, forces: bool = False) -> Molecules:
    """Molecules with labels of every head of one source."""
    draw = np.random.default_rng([seed, 1])
    geometries = [molecule(seed * 1000 + i, int(draw.integers(2, 9))) for i in range(count)]
    names = ["gfn2_energy_ev", "gfn2_gap_ev"] if forces else ["gap_ev", "homo_ev", "dipole_debye"]
    names += [] if forces else ["polarizability_bohr3", "atomization_energy_ev"]
    found = from_geometries(geometries, [dict(zip(names, draw.standard_normal(5), strict=False)) for _ in range(count)])
    atoms = len(found.numbers)
    if forces:
        return replace(found, node={"gfn2_forces": draw.standard_normal((atoms, 3)).astype(np.float32)})
    return replace(found, node={"mulliken_charge": draw.standard_normal(atoms).astype(np.float32)})


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The functions above."""
    return SimpleNamespace(
        configuration=configuration,
        only_gap=only_gap,
        network=network,
        molecule=molecule,
        as_graph=as_graph,
        outputs=outputs,
        labelled=labelled,
    )
