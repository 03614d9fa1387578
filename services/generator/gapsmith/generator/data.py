"""QM9 as molecules with bonds: tokens, geometry and properties, in padded batches of molecules of nearly equal size.

Only heavy atoms are held: with bonds and charges known, valences say how many hydrogens each carries. That leaves a
quarter of the pairs of atoms, which makes training and sampling several times as fast, and leaves no valence open.
"""

import fcntl
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache as remember
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from gapsmith.core.errors import DataError
from gapsmith.core.paths import cache
from gapsmith.data import qm9
from gapsmith.generator import bonds
from gapsmith.generator.vocabulary import Vocabulary
from gapsmith.training.protocol import LabelledGeometry

VERSION = 2
CACHED = ("gap_ev", "homo_ev", "lumo_ev", "dipole_debye", "polarizability_bohr3")  # columns of the cached values
POOL_BATCHES = 64  # molecules of so many batches are sorted by size together


@dataclass(frozen=True)
class Batch:
    """Molecules padded to the largest of them; padded places hold token 0 at the origin."""

    atoms: Tensor  # (batch, atoms) int64, atom tokens
    charges: Tensor  # (batch, atoms) int64, charge tokens
    bonds: Tensor  # (batch, atoms, atoms) int64, bond tokens, symmetric
    coordinates: Tensor  # (batch, atoms, 3) float32, angstrom
    present: Tensor  # (batch, atoms) bool
    values: Tensor  # (batch, properties) float32, in the order and units of the vocabulary; 0 where unknown
    known: Tensor  # (batch, properties) bool

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        return Batch(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


@dataclass(frozen=True)
class Molecules:
    """Molecules in padded arrays, as tokens."""

    sizes: np.ndarray  # (molecules,) int64
    atoms: np.ndarray  # (molecules, most atoms) uint8
    charges: np.ndarray  # (molecules, most atoms) uint8
    bonds: np.ndarray  # (molecules, most atoms, most atoms) uint8
    coordinates: np.ndarray  # (molecules, most atoms, 3) float32, angstrom
    values: np.ndarray  # (molecules, properties) float32, in the order and units of the vocabulary; 0 where unknown
    known: np.ndarray  # (molecules, properties) bool

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.sizes)

    def select(self, indices: np.ndarray) -> "Molecules":
        """Some of them."""
        return Molecules(**{f.name: np.ascontiguousarray(getattr(self, f.name)[indices]) for f in fields(self)})

    def batch(self, indices: np.ndarray) -> Batch:
        """Some of them as a batch, padded to the largest."""
        sizes = self.sizes[indices]
        n = int(sizes.max())
        return Batch(
            atoms=torch.from_numpy(self.atoms[indices, :n].astype(np.int64)),
            charges=torch.from_numpy(self.charges[indices, :n].astype(np.int64)),
            bonds=torch.from_numpy(self.bonds[indices, :n, :n].astype(np.int64)),
            coordinates=torch.from_numpy(self.coordinates[indices, :n]),
            present=torch.from_numpy(np.arange(n) < sizes[:, None]),
            values=torch.from_numpy(self.values[indices]),
            known=torch.from_numpy(self.known[indices]),
        )


def from_geometries(labels: Sequence[LabelledGeometry], vocabulary: Vocabulary) -> Molecules:
    """Labelled geometries with bonds assigned; those beyond the vocabulary, or whose bonds cannot be told, are left out."""
    kept, names = [], vocabulary.names
    for label in labels:
        known = bool(np.isin(label.numbers, (1, *vocabulary.elements)).all())
        fits = known and 0 < np.count_nonzero(label.numbers != 1) <= vocabulary.most_atoms
        found = bonds.assign(label.numbers, label.coordinates) if fits else None
        if found is not None and label.targets.keys() & set(names):
            kept.append((label, *found))
    molecules = _empty(len(kept), vocabulary)
    for row, (label, orders, charges) in enumerate(kept):
        heavy = np.flatnonzero(label.numbers != 1)
        n = len(heavy)
        molecules.sizes[row] = n
        molecules.atoms[row, :n] = vocabulary.token_of_number[label.numbers[heavy]]
        molecules.charges[row, :n] = vocabulary.charge_tokens(charges[heavy])
        molecules.bonds[row, :n, :n] = orders[np.ix_(heavy, heavy)]
        molecules.coordinates[row, :n] = label.coordinates[heavy] - label.coordinates[heavy].mean(0)
        for column, name in enumerate(names):
            if name in label.targets:
                molecules.values[row, column], molecules.known[row, column] = label.targets[name], True
    return molecules


@remember
def load_split(name: str, vocabulary: Vocabulary) -> Molecules:
    """Molecules of a part of EDM's split whose bonds could be assigned; made once (about a minute) and cached."""
    tensors = load_file(str(_prepare()))
    molecules, all_sizes = len(tensors["sizes"]), tensors["sizes"].astype(np.int64)
    heavy = tensors["numbers"] != 1
    molecule = np.repeat(np.arange(molecules), all_sizes)
    first = np.concatenate([[0], np.cumsum(all_sizes)])[:-1]
    heavy_before = np.concatenate([[0], np.cumsum(heavy)])
    place = heavy_before[:-1] - heavy_before[first][molecule]  # of every heavy atom among its molecule's
    result = _empty(molecules, vocabulary)
    result.sizes[:] = np.bincount(molecule[heavy], minlength=molecules)
    inside = molecule[heavy], place[heavy]
    result.atoms[inside] = vocabulary.token_of_number[tensors["numbers"][heavy]]
    result.charges[inside] = vocabulary.charge_tokens(tensors["charges"][heavy])
    result.coordinates[inside] = tensors["coordinates"][heavy] * np.float32(qm9.COORDINATE_STEP_ANGSTROM)
    row = np.repeat(np.arange(molecules), tensors["bonds_of"].astype(np.int64))
    left, right = first[row] + tensors["bonds"][:, 0], first[row] + tensors["bonds"][:, 1]
    both = heavy[left] & heavy[right]
    row, left, right, order = row[both], place[left[both]], place[right[both]], tensors["bonds"][both, 2]
    result.bonds[row, left, right] = result.bonds[row, right, left] = order
    for column, property_name in enumerate(vocabulary.names):
        if property_name in CACHED:
            result.values[:, column] = tensors["values"][:, CACHED.index(property_name)]
            result.known[:, column] = True
    chosen = qm9.edm_halves(molecules)
    if name not in chosen:
        raise DataError(f"QM9 has no split {name!r}; it has {', '.join(chosen)}")
    usable = (tensors["bonds_of"] > 0) & (result.sizes > 0)
    usable[molecule[~np.isin(tensors["numbers"], (1, *vocabulary.elements))]] = False
    return result.select(chosen[name][usable[chosen[name]]])


class MoleculeSource:
    """Shuffled batches without end; in each the sizes are nearly equal. Optionally mixed with a second set."""

    def __init__(
        self,
        molecules: Molecules,
        *,
        batch_size: int,
        seed: int,
        device: str,
        replay: Molecules | None = None,
        replay_fraction: float = 0.0,
    ) -> None:
        self.molecules, self.replay, self.batch_size, self.seed, self.device = (
            molecules,
            replay,
            batch_size,
            seed,
            device,
        )
        self.replayed = min(batch_size - 1, round(batch_size * replay_fraction)) if replay is not None else 0
        self._pools: dict[tuple[int, int], list[np.ndarray]] = {}

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Batch:
        """The share of one rank of a step's batch."""
        own = self._indices(self.molecules, self.batch_size - self.replayed, step, 0)
        share = self.molecules.select(own[rank::size])
        if self.replay is not None and self.replayed:
            other = self.replay.select(self._indices(self.replay, self.replayed, step, 1)[rank::size])
            share = Molecules(
                **{f.name: np.concatenate([getattr(share, f.name), getattr(other, f.name)]) for f in fields(share)}
            )
        return share.batch(np.arange(len(share))).to(self.device)

    def _indices(self, molecules: Molecules, count: int, step: int, stream: int) -> np.ndarray:
        if count == 0:
            return np.zeros(0, dtype=np.int64)
        pool, within = divmod(step, POOL_BATCHES)
        if (stream, pool) not in self._pools:
            self._pools = {key: value for key, value in self._pools.items() if key[0] != stream}
            need, positions = count * POOL_BATCHES, []
            start = pool * need
            while need > 0:
                epoch, offset = divmod(start, len(molecules))
                order = np.random.default_rng((self.seed, stream, epoch)).permutation(len(molecules))
                part = order[offset : offset + need]
                positions.append(part)
                start, need = start + len(part), need - len(part)
            drawn = np.concatenate(positions)
            drawn = drawn[np.argsort(molecules.sizes[drawn], kind="stable")].reshape(POOL_BATCHES, count)
            mixed = np.random.default_rng((self.seed, stream, 1, pool)).permutation(POOL_BATCHES)
            self._pools[stream, pool] = list(drawn[mixed])
        return self._pools[stream, pool][within]


def _empty(molecules: int, vocabulary: Vocabulary) -> Molecules:
    most, properties = vocabulary.most_atoms, len(vocabulary.properties)
    return Molecules(
        sizes=np.zeros(molecules, dtype=np.int64),
        atoms=np.zeros((molecules, most), dtype=np.uint8),
        charges=np.full((molecules, most), vocabulary.neutral, dtype=np.uint8),
        bonds=np.zeros((molecules, most, most), dtype=np.uint8),
        coordinates=np.zeros((molecules, most, 3), dtype=np.float32),
        values=np.zeros((molecules, properties), dtype=np.float32),
        known=np.zeros((molecules, properties), dtype=bool),
    )


def _prepare() -> Path:
    target = cache() / f"generator-qm9-{VERSION}.safetensors"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_file():
            partial = target.with_suffix(".partial")
            save_file(_tensors(), str(partial), metadata={"source": "qm9", "version": str(VERSION)})
            partial.replace(target)
    return target


def _tensors() -> dict[str, np.ndarray]:
    """The arrays of the cached file; ``bonds_of`` is 0 where no assignment fits."""
    data = qm9.load()
    sizes = np.diff(data.offsets)
    charges = np.zeros(len(data.numbers), dtype=np.int8)
    by_size = [np.flatnonzero(sizes == n) for n in range(sizes.max() + 1)]
    lists: list[np.ndarray] = [np.zeros((0, 3), dtype=np.uint8)] * len(data)
    for n, members in enumerate(by_size):
        for part in np.array_split(members, max(1, len(members) // 4096)):
            if len(part) == 0:
                continue
            rows = data.offsets[part][:, None] + np.arange(n)
            numbers = data.numbers[rows].astype(np.int64)
            orders = bonds.orders_by_length(numbers, data.coordinates[rows])
            plain = np.asarray(bonds.has_valences(numbers, orders).all(-1))
            for molecule, row, order, number, easy in zip(part, rows, orders, numbers, plain, strict=True):
                if not easy:
                    assigned = bonds.assign(number, data.coordinates[row])
                    if assigned is None:
                        continue
                    order, charges[row] = assigned
                left, right = np.nonzero(np.triu(order))
                lists[molecule] = np.stack([left, right, order[left, right]], axis=1).astype(np.uint8)
    step = qm9.COORDINATE_STEP_ANGSTROM
    return {
        "sizes": sizes.astype(np.uint8),
        "numbers": data.numbers,
        "charges": charges,
        "coordinates": np.round(data.coordinates / step).astype(np.int16),
        "bonds": np.concatenate(lists),
        "bonds_of": np.array([len(b) for b in lists], dtype=np.uint8),
        "values": np.stack([data.properties[name] for name in CACHED], axis=1).astype(np.float32),
    }
