"""QM9 and labelled molecules as training batches; every batch is a pure function of the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gapsmith.core.errors import InputError
from gapsmith.data import qm9
from gapsmith.surrogate.network import ELEMENTS

PROPERTIES = ("homo_ev", "gap_ev")
NOISE_ANGSTROM = 0.015  # bond lengths of GFN2-xTB and of B3LYP differ by about this much
POOL = 64  # batches whose molecules are sorted by size together, so that padding is small
MEMBERS = 16


@dataclass(frozen=True)
class Batch:
    """Molecules with their atoms concatenated."""

    numbers: Tensor  # (atoms,) int64
    coordinates: Tensor  # (atoms, 3) float32, angstrom
    molecule: Tensor  # (atoms,) int64, ascending
    targets: Tensor  # (molecules, 2) float32: HOMO and gap, eV; NaN where unknown
    weights: Tensor  # (molecules, members) float32, bootstrap weights with mean one

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.targets)


@dataclass(frozen=True)
class Molecules:
    """A set of molecules with targets, atoms concatenated."""

    offsets: np.ndarray  # (molecules + 1,) int64
    numbers: np.ndarray  # (atoms,) uint8
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom
    targets: np.ndarray  # (molecules, 2) float32, NaN where unknown

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(molecules,) number of atoms."""
        return np.diff(self.offsets)

    def take(self, chosen: np.ndarray) -> "Molecules":
        """The chosen molecules in that order."""
        sizes = self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Molecules(offsets, self.numbers[rows], self.coordinates[rows], self.targets[chosen])

    def shaken(self, sigma_angstrom: float, draw: np.random.Generator) -> "Molecules":
        """The same with Gaussian noise on the coordinates."""
        noise = draw.standard_normal(self.coordinates.shape, np.float32) * np.float32(sigma_angstrom)
        return replace(self, coordinates=self.coordinates + noise)

    def batch(self, weights: np.ndarray, device: str) -> Batch:
        """All of them as one batch, with (molecules, members) weights."""
        return Batch(
            numbers=torch.from_numpy(self.numbers.astype(np.int64)).to(device),
            coordinates=torch.from_numpy(self.coordinates.astype(np.float32)).to(device),
            molecule=torch.from_numpy(np.repeat(np.arange(len(self)), self.sizes)).to(device),
            targets=torch.from_numpy(self.targets).to(device),
            weights=torch.from_numpy(weights).to(device),
        )


@lru_cache(maxsize=1)
def base() -> Molecules:
    """All of QM9."""
    data = qm9.load()
    targets = np.stack([data.properties[name] for name in PROPERTIES], axis=1).astype(np.float32)
    return Molecules(data.offsets, data.numbers, data.coordinates, targets)


@lru_cache(maxsize=4)
def base_split(name: str) -> Molecules:
    """A part of QM9: ``train``, ``validation`` or ``test``, or ``first`` or ``second`` of EDM's halves."""
    whole = len(base())
    return base().take({**qm9.edm_halves(whole), **qm9.split(whole)}[name])


def from_geometries(
    geometries: Sequence[tuple[np.ndarray, np.ndarray]], targets: Sequence[Mapping[str, float]] | None = None
) -> Molecules:
    """Molecules out of (numbers, coordinates) pairs; raises InputError on what the network cannot take."""
    for index, (numbers, coordinates) in enumerate(geometries):
        check_geometry(np.asarray(numbers), np.asarray(coordinates), f"molecule {index}")
    sizes = [len(numbers) for numbers, _ in geometries]
    rows = [[float(row.get(name, np.nan)) for name in PROPERTIES] for row in targets or [{}] * len(geometries)]
    return Molecules(
        offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        numbers=np.concatenate([np.asarray(z, dtype=np.uint8) for z, _ in geometries] or [np.zeros(0, np.uint8)]),
        coordinates=np.concatenate(
            [np.asarray(x, dtype=np.float32) for _, x in geometries] or [np.zeros((0, 3), np.float32)]
        ),
        targets=np.array(rows, dtype=np.float32).reshape(len(geometries), len(PROPERTIES)),
    )


def check_geometry(numbers: np.ndarray, coordinates: np.ndarray, where: str) -> None:
    """Raise InputError unless it is a molecule of known elements with distinct finite positions."""
    if numbers.ndim != 1 or len(numbers) == 0 or coordinates.shape != (len(numbers), 3):
        raise InputError(
            f"{where}: numbers {numbers.shape} and coordinates {coordinates.shape} must be (atoms,) and (atoms, 3)"
        )
    unknown = sorted({int(number) for number in numbers} - set(ELEMENTS))
    if unknown:
        raise InputError(f"{where}: atomic numbers {unknown} are unknown to the surrogate; it knows {list(ELEMENTS)}")
    if not np.isfinite(coordinates).all():
        raise InputError(f"{where}: coordinates hold values that are not finite")
    difference = coordinates[:, None] - coordinates[None]
    distance = np.sqrt((difference**2).sum(-1)) + np.eye(len(numbers)) * 10
    if distance.min() < 0.3:
        first, second = np.unravel_index(distance.argmin(), distance.shape)
        raise InputError(
            f"{where}: atoms {first} and {second} are {distance.min():.3f} angstrom apart; relax the geometry first"
        )


class TrainingSource:
    """Batches of near-equal sizes out of a shuffled set, with noisy coordinates; see BatchSource."""

    def __init__(self, molecules: Molecules, *, batch_size: int, seed: int, device: str) -> None:
        if not 1 <= batch_size <= len(molecules):
            raise InputError(f"batch_size {batch_size} must be between 1 and the {len(molecules)} molecules there are")
        self.molecules, self.batch_size, self.seed, self.device = molecules, batch_size, seed, device
        self.steps_per_epoch = len(molecules) // batch_size
        self.bootstrap = bootstrap_weights(len(molecules), seed)
        self._epoch, self._order = -1, np.zeros((0, 0), dtype=np.int64)

    def chosen(self, step: int) -> np.ndarray:
        """(batch_size,) molecules of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffle(epoch)
        return np.asarray(self._order[within])

    def _shuffle(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng([self.seed, epoch])
        order = draw.permutation(len(self.molecules))[: self.steps_per_epoch * self.batch_size]
        sizes = self.molecules.sizes
        pools = [order[i : i + POOL * self.batch_size] for i in range(0, len(order), POOL * self.batch_size)]
        batches = np.concatenate([pool[np.argsort(sizes[pool], kind="stable")] for pool in pools])
        batches = batches.reshape(-1, self.batch_size)
        return batches[draw.permutation(len(batches))]

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Batch:
        """One rank's share of a step's batch."""
        chosen = self.chosen(step)
        whole = self.molecules.take(chosen).shaken(NOISE_ANGSTROM, np.random.default_rng([self.seed, step, 1]))
        return whole.take(np.arange(rank, len(whole), size)).batch(self.bootstrap[chosen[rank::size]], self.device)


def bootstrap_weights(molecules: int, seed: int) -> np.ndarray:
    """(molecules, members) float32 exponential weights with mean one: each member's Bayesian bootstrap."""
    draw = np.random.default_rng([seed, molecules, 7])
    return draw.standard_exponential((molecules, MEMBERS), np.float32)


class ReplaySource:
    """New molecules with a replay of old ones in every batch; see BatchSource."""

    def __init__(
        self, new: Molecules, old: Molecules, *, batch_size: int, replay_fraction: float, seed: int, device: str
    ) -> None:
        if len(new) == 0:
            raise InputError("fine-tuning needs at least one label")
        if not 0 <= replay_fraction < 1:
            raise InputError(f"replay_fraction must be at least 0 and below 1, got {replay_fraction}")
        self.replayed = min(batch_size - 1, round(batch_size * replay_fraction))
        if self.replayed < 0 or self.replayed > len(old):
            raise InputError(f"batch_size {batch_size} must be between 1 and the {len(old)} molecules there are")
        self.new, self.old, self.seed, self.device = new, old, seed, device
        self.fresh = batch_size - self.replayed
        self.new_bootstrap = bootstrap_weights(len(new), seed)
        self.old_bootstrap = bootstrap_weights(len(old), seed)

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Batch:
        """One rank's share of a step's batch."""
        draw = np.random.default_rng([self.seed, step])
        old = draw.choice(len(self.old), self.replayed, replace=False)
        new = draw.choice(len(self.new), self.fresh, replace=self.fresh > len(self.new))
        whole = joined(self.old.take(old), self.new.take(new)).shaken(NOISE_ANGSTROM, draw)
        weights = np.concatenate([self.old_bootstrap[old], self.new_bootstrap[new]])
        share = draw.permutation(len(whole))[rank::size]  # every rank gets some of both
        return whole.take(share).batch(weights[share], self.device)


def joined(first: Molecules, second: Molecules) -> Molecules:
    """The molecules of both, in order."""
    return Molecules(
        np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
        np.concatenate([first.numbers, second.numbers]),
        np.concatenate([first.coordinates, second.coordinates]),
        np.concatenate([first.targets, second.targets]),
    )
