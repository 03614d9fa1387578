"""A model of the time of one step of data-parallel training: compute of the slowest rank, all-reduce, optimizer.

All-reduce: a ring takes 2 (n - 1) messages of 1/n of the bytes (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69,
117, 2009; costs as Thakur, Rabenseifner and Gropp, Int. J. High Perform. Comput. Appl. 19, 49, 2005), a pipelined
double binary tree 2 log2(n) messages on the way (Sanders, Speck and Traeff, Parallel Comput. 35, 581, 2009).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import nnls
from scipy.stats import norm


@dataclass(frozen=True)
class Link:
    """What a message costs between two ranks."""

    latency_s: float  # of a message without bytes
    bytes_per_s: float  # one way


@dataclass(frozen=True)
class Fabric:
    """Nodes of several GPUs, each of which has a network adapter of its own."""

    node: Link
    network: Link
    per_node: int = 8


@dataclass(frozen=True)
class Work:
    """What one rank computes in a step; the same on every rank but for the sizes of its molecules."""

    fixed_s: float  # of loss and gradients, however few molecules
    per_molecule_s: float
    update_s: float  # clipping, optimizer, averages: every rank repeats them
    variation: float = 0.0  # standard deviation of a molecule's work, in means
    least_s: float = 0.0  # of loss and gradients: what the host needs to start that many operations
    jitter: float = 0.0  # standard deviation of the time that equal work takes, in means


def ring_s(ranks: int, size_bytes: float, link: Link) -> float:
    """Time of a ring all-reduce: 2 (n - 1) (latency + bytes / n / bandwidth); nothing for one rank."""
    return 2 * (ranks - 1) * (link.latency_s + size_bytes / ranks / link.bytes_per_s)


def tree_s(ranks: int, size_bytes: float, link: Link) -> float:
    """Time of an all-reduce along double binary trees: up and down, pipelined; nothing for one rank."""
    if ranks == 1:
        return 0.0
    return 2 * (math.ceil(math.log2(ranks)) * link.latency_s + size_bytes / link.bytes_per_s)


def hierarchical_s(ranks: int, size_bytes: float, fabric: Fabric) -> float:
    """Time of an all-reduce in and between nodes: reduce-scatter, all-reduce of each GPU's part, all-gather.

    Between nodes it takes the faster of ring and tree, as NCCL does.

    Raises:
        ValueError: more ranks than a node has, and no whole number of nodes.
    """
    within = min(ranks, fabric.per_node)
    nodes, left = divmod(ranks, within)
    if left:
        raise ValueError(f"{ranks} ranks are no whole number of nodes of {fabric.per_node}")
    part = size_bytes / within
    between = min(ring_s(nodes, part, fabric.network), tree_s(nodes, part, fabric.network))
    return ring_s(within, size_bytes, fabric.node) + between


@cache
def expected_largest(ranks: int) -> float:
    """Expected largest of so many independent standard normal numbers: 0 for one, 1 / sqrt(pi) for two."""
    if ranks == 1:
        return 0.0
    x = np.linspace(-9.0, 9.0, 20_001)
    return float(np.sum(x * ranks * norm.pdf(x) * norm.cdf(x) ** (ranks - 1)) * (x[1] - x[0]))


def compute_s(work: Work, ranks: int, molecules: float) -> float:
    """Loss and gradients of the slowest rank: by jitter, or since its so many molecules happen to be the larger ones."""
    worst = expected_largest(ranks)
    even_s = work.fixed_s + work.per_molecule_s * molecules
    uneven_s = work.per_molecule_s * work.variation * math.sqrt(molecules)
    starting_s = work.least_s * (1 + work.jitter * worst)
    return max(starting_s, even_s + worst * math.hypot(uneven_s, work.jitter * even_s))


def step_s(work: Work, ranks: int, molecules: float, all_reduce_s: float, overlapped: float = 0.0) -> float:
    """Time of a step.

    Args:
        work: of one rank.
        ranks: how many there are.
        molecules: of each rank's share.
        all_reduce_s: time of the gradients' all-reduce.
        overlapped: share of loss and gradients behind which the all-reduce can hide; none where it begins after them.
    """
    computed = compute_s(work, ranks, molecules)
    return computed + max(0.0, all_reduce_s - overlapped * computed) + work.update_s


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope, neither negative, with the least squares of relative errors.

    Raises:
        ValueError: fewer than two different places.
    """
    if len(set(x)) < 2:
        raise ValueError(f"a line needs two different places, got {list(x)}")
    places, values = np.asarray(x, float), np.asarray(y, float)
    scale = places.max()
    found, _ = nnls(np.stack([1 / values, places / scale / values], 1), np.ones(len(values)))
    return float(found[0]), float(found[1] / scale)


def link_of_two(sizes_bytes: Sequence[float], seconds: Sequence[float]) -> Link:
    """The link that a ring all-reduce between two ranks, of so many bytes in so many seconds, went over."""
    start_s, per_byte_s = fit_line(sizes_bytes, seconds)
    return Link(start_s / 2, 1 / per_byte_s if per_byte_s else math.inf)
