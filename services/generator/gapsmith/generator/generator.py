"""Molecules on demand: load weights once, then sample from nothing or regrow a part of a molecule."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.generator import masks, network
from gapsmith.generator.data import SizeTable
from gapsmith.generator.filling import fill
from gapsmith.generator.molecule import GeneratedMolecule, Skeleton, complete, order_matrix
from gapsmith.generator.sampling import SamplingOptions, Seeded
from gapsmith.generator.vocabulary import ELEMENTS, MAX_ATOMS
from gapsmith.training.checkpoint import load_weights, read_card

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "generator-0.safetensors"
BATCH = 64  # molecules of one trajectory; a fixed number, so that a seed means the same everywhere


@dataclass(frozen=True)
class Sampled:
    """What came of a number of attempts."""

    molecules: list[GeneratedMolecule]  # those that are molecules, hydrogens included
    parents: list[int | None]  # which parent each was grown from
    attempts: int
    refused: Counter[str] = field(default_factory=Counter)  # how many of the others for which reason


class Generator:
    """The trained denoiser with what sampling needs."""

    def __init__(self, denoiser: network.Denoiser, sizes: SizeTable, card: dict[str, Any], device: str = "cpu") -> None:
        self.denoiser, self.sizes, self.card, self.device = denoiser.to(device).eval(), sizes, card, device

    @classmethod
    def load(cls, weights: Path = DEFAULT_WEIGHTS, *, device: str = "cpu") -> "Generator":
        """Load checked weights; raises CheckpointError."""
        card = read_card(weights, kind="generator")
        denoiser = network.build(card["config"])
        load_weights(denoiser, weights)
        table = card["sizes"]
        sizes = SizeTable(np.array(table["counts"], dtype=np.float64), table["low_ev"], table["step_ev"])
        return cls(denoiser, sizes, card, device)

    def sample(
        self,
        n: int,
        gap_ev: float | None,
        seed: int,
        *,
        options: SamplingOptions | None = None,
        heavy_atoms: tuple[int, int] = (1, MAX_ATOMS),
        elements: Sequence[int] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Sampled:
        """Try ``n`` new molecules.

        Args:
            n: attempts.
            gap_ev: wanted gap; None follows the data.
            seed: the same seed gives the same molecules.
            options: see ``SamplingOptions``.
            heavy_atoms: smallest and largest number of heavy atoms.
            elements: atomic numbers of the elements that new heavy atoms may have; None for all that were learned.
            should_stop: asked often; what is finished by then is returned.

        Raises:
            InputError: no molecule of the training data has so many atoms, or an element was not learned.
        """
        sizes = self._draw_sizes(n, gap_ev, heavy_atoms, np.random.default_rng(seed))
        skeletons = [Skeleton.blank(int(size)) for size in sizes]
        chosen = _with_elements(options or SamplingOptions(), elements)
        return self._run(skeletons, [None] * n, (), gap_ev, seed, chosen, should_stop)

    def regrow(
        self,
        parents: Sequence[Molecule],
        n: int,
        mask_fraction: float,
        gap_ev: float | None,
        seed: int,
        *,
        options: SamplingOptions | None = None,
        size_change: int = 1,
        heavy_atoms: tuple[int, int] = (1, MAX_ATOMS),
        elements: Sequence[int] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Sampled:
        """Try ``n`` times, parents in turn, to grow a random connected part again; the rest stays, bit for bit.

        Args:
            parents: with hydrogens and bonds.
            n: attempts, each with its own part.
            mask_fraction: share of the heavy atoms that is replaced, 0 (returned as it is) to 1 (nothing kept).
            gap_ev: wanted gap; None follows the data.
            seed: the same seed gives the same molecules.
            options: see ``SamplingOptions``.
            size_change: by how many atoms the new part may be smaller or larger.
            heavy_atoms: smallest and largest number of heavy atoms of the result.
            elements: atomic numbers of the elements that new heavy atoms may have; None for all that were learned.
            should_stop: asked often.

        Raises:
            InputError: ``mask_fraction`` is outside 0 to 1; there is no parent, or one is too large or without bonds.
        """
        if not parents:
            raise InputError("there is no parent to grow molecules from")
        random = np.random.default_rng((seed, 1))
        frames = [_Frame.of(parent) for parent in parents]
        skeletons = []
        for attempt in range(n):
            frame = frames[attempt % len(frames)]
            count = len(frame.heavy)
            masked = masks.patch(frame.orders, mask_fraction, random)
            kept = frame.heavy[~masked]
            size = count
            if masked.any():
                low = max(heavy_atoms[0], count - size_change, len(kept) + 1)
                high = max(low, min(heavy_atoms[1], count + size_change))
                size = int(self._draw_sizes(1, gap_ev, (low, high), random, fallback=count)[0])
            skeletons.append(Skeleton.of(frame.molecule, kept, size - len(kept)))
        origins: list[int | None] = [attempt % len(parents) for attempt in range(n)]
        chosen = _with_elements(options or SamplingOptions(), elements)
        return self._run(skeletons, origins, parents, gap_ev, seed, chosen, should_stop)

    def _draw_sizes(
        self,
        n: int,
        gap_ev: float | None,
        heavy_atoms: tuple[int, int],
        random: np.random.Generator,
        fallback: int | None = None,
    ) -> np.ndarray:
        inside = np.zeros(self.sizes.counts.shape[1], dtype=bool)
        inside[max(1, heavy_atoms[0]) : heavy_atoms[1] + 1] = True
        table = SizeTable(self.sizes.counts * inside, self.sizes.low_ev, self.sizes.step_ev)
        if table.counts.sum() == 0:
            if fallback is not None:
                return np.full(n, fallback)
            known = np.flatnonzero(self.sizes.counts.sum(0))
            raise InputError(f"heavy_atoms is {heavy_atoms}; the generator learned {known.min()} to {known.max()}")
        return table.draw(gap_ev, n, random)

    def _run(
        self,
        skeletons: Sequence[Skeleton],
        origins: Sequence[int | None],
        parents: Sequence[Molecule],
        gap_ev: float | None,
        seed: int,
        options: SamplingOptions,
        should_stop: Callable[[], bool],
    ) -> Sampled:
        """Complete the skeletons, batches of like size, and keep those that are molecules, in order."""
        order = np.argsort([len(s.numbers) for s in skeletons], kind="stable")
        done: dict[int, GeneratedMolecule] = {}
        refused: Counter[str] = Counter()
        attempts = 0
        for number, first in enumerate(range(0, len(order), BATCH)):
            if should_stop():
                break
            chosen = order[first : first + BATCH]
            filled = fill(
                self.denoiser,
                [skeletons[i] for i in chosen],
                gap_ev,
                Seeded(_seed(seed, number), self.device),
                options,
                self.device,
            )
            attempts += len(chosen)
            for index, skeleton in zip(chosen, filled, strict=True):
                origin = origins[index]
                try:
                    done[int(index)] = complete(skeleton, None if origin is None else parents[origin])
                except InvalidMolecule as error:
                    refused[error.reason] += 1
        kept = sorted(done)
        return Sampled([done[i] for i in kept], [origins[i] for i in kept], attempts, refused)


@dataclass(frozen=True)
class _Frame:
    """What is needed of a parent."""

    molecule: Molecule
    heavy: np.ndarray  # indices
    orders: np.ndarray  # (heavy, heavy)

    @classmethod
    def of(cls, molecule: Molecule) -> "_Frame":
        heavy = np.flatnonzero(molecule.numbers != 1)
        if not 1 <= len(heavy) <= MAX_ATOMS:
            raise InputError(
                f"a parent has {len(heavy)} heavy atoms; the generator grows molecules of 1 to {MAX_ATOMS}"
            )
        return cls(molecule, heavy, order_matrix(molecule)[np.ix_(heavy, heavy)])


def _with_elements(options: SamplingOptions, elements: Sequence[int] | None) -> SamplingOptions:
    if elements is None:
        return options
    known = set(ELEMENTS) - {1}
    if not elements or not set(elements) <= known:
        raise InputError(f"elements are {sorted(elements)}; the generator places atomic numbers {sorted(known)}")
    return replace(options, elements=tuple(sorted(elements)))


def _seed(seed: int, number: int) -> int:
    """A seed of one trajectory, 63 bits."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
