"""Errors, calibration and speed of the shipped surrogate on QM9's test split; speed of the GFN2-xTB relaxation."""

import statistics
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch_geometric.nn import SchNet

from gapsmith.core.xtb import relax
from gapsmith.data import qm9
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import WEIGHTS, sources
from gapsmith.surrogate.evaluate import evaluate
from gapsmith.surrogate.graph import Graph
from gapsmith.surrogate.inference import PAIRS_PER_BATCH, as_graph, batches
from gapsmith.surrogate.predictor import Predictor

RELAXED = 30
COMPARED = 500  # molecules of the comparison of speeds
NOISE_ANGSTROM = 0.1  # generated geometries are about as rough


def measure() -> dict[str, Any]:
    """All of the test split, and some molecules relaxed from displaced geometries."""
    data = qm9.load()
    rng = np.random.default_rng(0)
    times = []
    for index in qm9.split(len(data))["test"][:RELAXED]:
        atoms = data.atoms(int(index))
        start = data.coordinates[atoms] + rng.normal(0, NOISE_ANGSTROM, data.coordinates[atoms].shape)
        started = time.process_time()
        relax(data.numbers[atoms], start.astype(np.float64))
        times.append(time.process_time() - started)
    return {
        **evaluate(WEIGHTS, "test").numbers(),
        "relaxation_median_cpu_s": round(statistics.median(times), 3),
        "speed": speeds(sources.there("qm9", "test", seen=True).take(np.arange(COMPARED))),
    }


def speeds(molecules: Molecules) -> dict[str, Any]:
    """Molecules a second of the shipped network, every head and member, and of torch_geometric's SchNet of like size.

    GFN2-xTB's electronic structure of the molecules is there already; the contrast is not asked. SchNet (Schuett et al.,
    NeurIPS 2017) is untrained and has one output. Both see the same batches and pairs.
    """
    predictor = Predictor.load(WEIGHTS)
    features, cutoff = predictor.config.trunk.features, predictor.config.trunk.cutoff_angstrom
    found = {}
    for name, network in {
        "surrogate": predictor.model,
        "schnet": SchNet(features, features, 6, cutoff=cutoff, interaction_graph=partial(_near, cutoff)),
    }.items():
        rounds = []
        for _ in range(3):
            started = time.perf_counter()
            for chosen in batches(molecules, PAIRS_PER_BATCH["cpu"]):
                part = molecules.take(chosen)
                whole = as_graph(part, "cpu")
                with torch.inference_mode():
                    network(whole) if name == "surrogate" else network(whole.numbers, whole, whole.molecule)
            rounds.append(len(molecules) / (time.perf_counter() - started))
        parameters = sum(parameter.numel() for parameter in network.parameters())
        found[name] = {"molecules_per_s": round(statistics.median(rounds)), "parameters": parameters}
    return found


def _near(cutoff: float, whole: Graph, molecule: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """SchNet's pairs within its cutoff, which comes from this module's own graph and not from torch_cluster."""
    distance = (whole.coordinates[whole.first] - whole.coordinates[whole.second]).norm(dim=-1)
    near = distance < cutoff
    return torch.stack([whole.second, whole.first])[:, near], distance[near]
