"""Training batches out of several sources; every batch is a pure function of the step.

The molecules lie on the training's device. The host chooses which ones a step sees and knows their sizes; all else is
gathered on the device, which is never waited for. Molecules with forces are a part of their own, since only they need
a second backward pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gapsmith.core.errors import InputError
from gapsmith.data.molecules import Molecules, joined
from gapsmith.surrogate.graph import Graph, graph, with_electronic
from gapsmith.surrogate.quantities import FORCES

MOST_MEMBERS = 64


@dataclass(frozen=True)
class Part:
    """Molecules that go through the network together, with labels in base units; NaN where unknown."""

    graph: Graph
    labels: Mapping[str, Tensor]  # by quantity: (molecules,) float64, or (atoms,) or (atoms, 3) float32
    weights: Tensor  # (molecules, MOST_MEMBERS) float32, bootstrap weights with mean one
    heads: tuple[str, ...]  # quantities that any of the set's molecules has labels of

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.graph)


@dataclass(frozen=True)
class Batch:
    """What one step of one process sees."""

    parts: tuple[Part, ...]

    def __len__(self) -> int:
        """Number of molecules."""
        return sum(len(part) for part in self.parts)


class Gathered(Protocol):
    """A set of molecules from which parts of batches are gathered."""

    def part(self, chosen: np.ndarray, seed: int, *, rank: int = 0, size: int = 1) -> Part:
        """One rank's share of the chosen molecules."""
        ...


class Resident:
    """A set of molecules on a device, from which batches are gathered."""

    def __init__(self, molecules: Molecules, noise_angstrom: np.ndarray, *, bootstrap: np.ndarray, device: str) -> None:
        self.molecules, self.device = molecules, device
        self.heads = molecules.labelled()
        self._offsets = self._put(molecules.offsets)
        self._numbers = self._put(molecules.numbers)
        self._coordinates = self._put(molecules.coordinates)
        self._graph = {name: self._put(values) for name, values in molecules.graph.items()}
        self._node = {name: self._put(values) for name, values in molecules.node.items()}
        self._bootstrap = self._put(bootstrap)
        if molecules.electronic is not None:
            seen = molecules.electronic
            self._levels, self._seen = self._put(seen.orbital_energies_ev), self._put(seen.atoms)
            self._pairs, self._orders = self._put(seen.pairs), self._put(seen.bond_orders)
            self._pair_ends = self._put(np.cumsum(seen.pair_counts, dtype=np.int64))
            self._pair_counts = self._put(seen.pair_counts.astype(np.int64))
        self._noise = self._put(noise_angstrom.astype(np.float32)) if noise_angstrom.any() else None

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def part(self, chosen: np.ndarray, seed: int, *, rank: int = 0, size: int = 1) -> Part:
        """One rank's share of the chosen molecules; noise is drawn for all of them, so that it does not depend on ranks."""
        chosen = by_size(chosen, self.molecules.sizes[chosen])
        share = chosen[rank::size]
        sizes = self.molecules.sizes[share]
        index = torch.from_numpy(share)
        index = (index.pin_memory() if self.device != "cpu" else index).to(self.device, non_blocking=True)
        counts = self._offsets[index + 1] - self._offsets[index]
        atoms = int(sizes.sum())
        rows = _rows(self._offsets[index], counts, atoms)
        coordinates = self._coordinates[rows]
        if self._noise is not None:
            sigma = torch.repeat_interleave(self._noise[index], counts, output_size=atoms)
            normal = displacements(self.molecules.sizes[chosen], seed, rank, size, self.device)
            coordinates = coordinates + sigma.unsqueeze(-1) * normal
        found = graph(self._numbers[rows].long(), coordinates, sizes)
        if self.molecules.electronic is not None:
            bonds, total = self._pair_counts[index], int(self.molecules.electronic.pair_counts[share].sum())
            those = _rows(self._pair_ends[index] - bonds, bonds, total)
            levels, pairs = self._levels[index], self._pairs[those].long()
            found = with_electronic(found, levels, self._seen[rows], pairs, self._orders[those], bonds, total)
        return Part(
            found,
            {name: values[index] for name, values in self._graph.items()}
            | {name: values[rows] for name, values in self._node.items()},
            self._bootstrap[index],
            self.heads,
        )


@dataclass(frozen=True)
class Share:
    """Molecules that are a fixed share of every batch."""

    molecules: Molecules
    share: float
    noise_angstrom: float


class Mixture:
    """Batches that hold the same share of every source, however unequal their sizes.

    Each source goes through its own epochs, reshuffled every time.
    """

    def __init__(self, sources: Mapping[str, tuple[int, float]], *, batch_size: int, seed: int) -> None:
        """Divide a batch among sources of so many molecules and such a share; raises InputError if that is impossible."""
        for name, (molecules, _) in sources.items():
            if molecules == 0:
                raise InputError(f"source {name} holds no molecules")
        self._lengths = [molecules for molecules, _ in sources.values()]
        self.counts = apportion([share for _, share in sources.values()], batch_size)
        for name, count, there in zip(sources, self.counts, self._lengths, strict=True):
            if count == 0:
                raise InputError(f"batch_size {batch_size} is too small for the share of source {name}")
            if count > there:
                raise InputError(f"batch_size {batch_size} wants {count} molecules of {name}, which has {there}")
        self.seed, self.batch_size = seed, batch_size
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._groups: list[tuple[Gathered, list[tuple[int, int]]]] = []  # of source and where it starts

    def chosen(self, number: int, step: int) -> np.ndarray:
        """Molecules of a source that a step sees."""
        count, length = self.counts[number], self._lengths[number]
        places = step * count + np.arange(count)
        epochs = places // length
        return np.concatenate(
            [self._order(number, epoch)[places[epochs == epoch] % length] for epoch in range(epochs[0], epochs[-1] + 1)]
        )

    def _order(self, number: int, epoch: int) -> np.ndarray:
        if (kept := self._orders.get(number)) is None or kept[0] != epoch:
            order = np.random.default_rng([self.seed, number, epoch]).permutation(self._lengths[number])
            kept = self._orders[number] = (epoch, order)
        return kept[1]

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Batch:
        """One rank's share of a step's batch."""
        parts = []
        for index, (molecules, members) in enumerate(self._groups):
            chosen = self._wanted(members, step)
            if len(chosen[rank::size]):
                parts.append(molecules.part(chosen, draw_seed(self.seed, step, index), rank=rank, size=size))
        return Batch(tuple(parts))

    def _wanted(self, members: Sequence[tuple[int, int]], step: int) -> np.ndarray:
        return np.concatenate([self.chosen(number, step) + start for number, start in members])


class MixedSource(Mixture):
    """A mixture of sources in memory; see BatchSource."""

    def __init__(
        self, sources: Mapping[str, Share], *, batch_size: int, seed: int, device: str, bootstrap: bool = True
    ) -> None:
        of = {name: (len(source.molecules), source.share) for name, source in sources.items()}
        super().__init__(of, batch_size=batch_size, seed=seed)
        for forces in (False, True):
            found = [
                (number, source)
                for number, source in enumerate(sources.values())
                if (FORCES in source.molecules.labelled()) == forces
            ]
            if found:
                self._groups.append(self._group(found, device, bootstrap))

    def _group(
        self, found: Sequence[tuple[int, Share]], device: str, bootstrap: bool
    ) -> tuple[Resident, list[tuple[int, int]]]:
        parts = [source.molecules for _, source in found]
        starts = np.cumsum([0, *(len(part) for part in parts)])
        noise = np.concatenate([np.full(len(x.molecules), x.noise_angstrom) for _, x in found])
        weights = [bootstrap_weights(len(x.molecules), self.seed + number, bootstrap=bootstrap) for number, x in found]
        resident = Resident(joined(parts), noise, bootstrap=np.concatenate(weights), device=device)
        return resident, [(number, int(start)) for (number, _), start in zip(found, starts, strict=False)]


class ReplaySource:
    """New molecules with a replay of old ones in every batch; see BatchSource."""

    def __init__(
        self,
        new: Sequence[Molecules],
        old: Molecules,
        *,
        batch_size: int,
        replay_fraction: float,
        seed: int,
        device: str,
    ) -> None:
        """Divide batches: the old ones' share, and the rest evenly among the groups of new ones."""
        groups = [some for some in new if len(some)]
        if not groups:
            raise InputError("fine-tuning needs at least one label")
        if not 0 <= replay_fraction < 1:
            raise InputError(f"replay_fraction must be at least 0 and below 1, got {replay_fraction}")
        replayed = min(batch_size - len(groups), round(batch_size * replay_fraction))
        if replayed < 0 or replayed > len(old):
            raise InputError(
                f"batch_size {batch_size} must be between {len(groups)} and the {len(old)} molecules there are"
            )
        self.seed, self.replayed, parts = seed, replayed, [old, *groups]
        self._ends = np.cumsum([len(part) for part in parts])
        self._counts = [replayed, *apportion([1.0] * len(groups), batch_size - replayed)]
        weights = [bootstrap_weights(len(part), seed + number) for number, part in enumerate(parts)]
        still = np.zeros(self._ends[-1])
        self._resident = Resident(joined(parts), still, bootstrap=np.concatenate(weights), device=device)

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Batch:
        """One rank's share of a step's batch."""
        draw = np.random.default_rng([self.seed, step])
        found = []
        for end, length, count in zip(self._ends, np.diff(self._ends, prepend=0), self._counts, strict=True):
            found.append(end - length + draw.choice(length, count, replace=count > length))
        chosen = draw.permutation(np.concatenate(found))  # every rank gets some of all
        if len(chosen[rank::size]) == 0:
            return Batch(())
        return Batch((self._resident.part(chosen, draw_seed(self.seed, step, 0), rank=rank, size=size),))


def _rows(starts: Tensor, counts: Tensor, total: int) -> Tensor:
    """``counts`` (molecules,) rows of each molecule from ``starts`` on, one after the other; ``total`` on the host."""
    before = torch.repeat_interleave(starts - (torch.cumsum(counts, 0) - counts), counts, output_size=total)
    return before + torch.arange(total, device=starts.device)


def by_size(chosen: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Molecules in the order of their numbers of atoms, so that every rank's share, each ``size``-th, is as much work."""
    return np.asarray(chosen[np.argsort(sizes, kind="stable")])


def displacements(sizes: np.ndarray, seed: int, rank: int, size: int, device: str) -> Tensor:
    """(atoms, 3) standard normal numbers for one rank's share of molecules of these sizes; drawn for all of them."""
    generator = torch.Generator(device).manual_seed(seed)
    whole = torch.randn(int(sizes.sum()), 3, generator=generator, device=device)
    if size == 1:
        return whole
    mine = np.repeat(np.arange(len(sizes)) % size == rank, sizes)
    return whole[torch.from_numpy(np.flatnonzero(mine)).to(device)]


def draw_seed(*numbers: int) -> int:
    """A seed of torch's generators out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers in proportion to the shares that add up to ``total`` (largest remainders)."""
    exact = np.array(shares) / np.sum(shares) * total
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return [int(count) for count in counts]


def bootstrap_weights(molecules: int, seed: int, *, bootstrap: bool = True) -> np.ndarray:
    """(molecules, MOST_MEMBERS) float32 exponential weights with mean one: each member's Bayesian bootstrap."""
    if not bootstrap:
        return np.ones((molecules, MOST_MEMBERS), np.float32)
    draw = np.random.default_rng([seed, molecules, 7])
    return draw.standard_exponential((molecules, MOST_MEMBERS), np.float32)
