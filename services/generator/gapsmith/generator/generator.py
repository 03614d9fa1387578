"""Molecules on demand: load weights once, then sample from nothing or regrow a part of a molecule."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.core.model_domain import ModelDomain
from gapsmith.generator import ROLE, WEIGHTS, network
from gapsmith.generator.filling import fill
from gapsmith.generator.masks import patch
from gapsmith.generator.molecule import GeneratedMolecule, Skeleton, complete, order_matrix
from gapsmith.generator.sampling import SamplingOptions, Seeded
from gapsmith.generator.sizes import Sizes
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.roles import Planted, Sampled, Targeted, Targets

BATCH = {"cpu": 64, "cuda": 1024}  # molecules of one trajectory; halved whenever memory runs out


@dataclass(frozen=True)
class Generated(Sampled):
    """The same, with what of each molecule is its parent's."""

    molecules: Sequence[GeneratedMolecule]


class Generator:
    """The trained denoiser with what sampling needs."""

    def __init__(self, denoiser: network.Denoiser, sizes: Sizes, card: dict[str, Any], device: str = "cpu") -> None:
        self.denoiser, self.sizes, self.card, self.device = denoiser.to(device).eval(), sizes, card, device
        self.vocabulary, self.domain = denoiser.vocabulary, ModelDomain.of(card["domain"])
        self._batch = BATCH["cuda" if device.startswith("cuda") else "cpu"]

    @classmethod
    def load(cls, weights: Path = WEIGHTS, *, device: str = "cpu") -> "Generator":
        """Load checked weights; raises CheckpointError."""
        card = read_card(weights, role=ROLE)
        denoiser = network.build(card["config"])
        load_weights(denoiser, weights)
        return cls(denoiser, Sizes.from_card(card["sizes"]), card, device)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The properties that molecules can be asked to have, names with unit."""
        return tuple(self.sizes.tables)

    def range_of(self, name: str) -> tuple[float, float]:
        """Between which values of a property the training data lie, but for one in a thousand at either end.

        Raises:
            InputError: the generator was not trained on that property.
        """
        if name not in self.sizes.tables:
            raise InputError(f"the generator knows no {name}; it knows {', '.join(self.sizes.tables)}")
        return self.sizes.tables[name].range

    def sample(
        self,
        n: int,
        targets: Targeted,
        seed: int,
        *,
        options: SamplingOptions | None = None,
        heavy_atoms: tuple[int, int] | None = None,
        elements: Sequence[int] | None = None,
        planted: Sequence[Planted] = (),
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[int], None] | None = None,
    ) -> Generated:
        """Try ``n`` new molecules.

        Args:
            n: attempts.
            targets: wanted properties, the same for all or one each; None follows the data.
            seed: the same seed gives the same molecules.
            options: see ``SamplingOptions``.
            heavy_atoms: smallest and largest number of heavy atoms; None for all that were learned.
            elements: atomic numbers of the elements that new heavy atoms may have; None for all that were learned.
            planted: parts to grow around, in turn; none: all atoms are new.
            should_stop: asked often; what is finished by then is returned.
            on_progress: told the number of attempts that are done.

        Raises:
            InputError: no molecule of the training data has so many atoms, or an element, a property or what is planted
                was not learned.
        """
        wanted = self._targets(targets, n)
        random = np.random.default_rng(seed)
        sizes = heavy_atoms or self.domain.heavy_atoms
        parts = [_Frame.of(self._checked(one.molecule)).heavy[one.kept] for one in planted]
        skeletons = []
        for attempt, one in enumerate(wanted):
            if not planted:
                skeletons.append(Skeleton.blank(self._draw_size(one, sizes, random)))
                continue
            kept, part = parts[attempt % len(parts)], planted[attempt % len(parts)]
            size = self._draw_size(one, (max(sizes[0], len(kept)), sizes[1]), random)
            skeletons.append(Skeleton.of(part.molecule, kept, size - len(kept), closed=part.closed[part.kept]))
        chosen = self._with_elements(options or SamplingOptions(), elements)
        whole = (1, self.vocabulary.most_atoms)
        return self._run(skeletons, [None] * n, (), wanted, seed, chosen, should_stop, on_progress, whole)

    def regrow(
        self,
        parents: Sequence[Molecule],
        n: int,
        mask_fraction: float,
        targets: Targeted,
        seed: int,
        *,
        options: SamplingOptions | None = None,
        free: Sequence[np.ndarray] | None = None,
        depth: float = 1.0,
        size_change: int = 1,
        heavy_atoms: tuple[int, int] | None = None,
        elements: Sequence[int] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[int], None] | None = None,
    ) -> Generated:
        """Try ``n`` times, parents in turn, to grow a connected part again; the rest stays, bit for bit.

        Args:
            parents: with hydrogens and bonds.
            n: attempts, each with its own part.
            mask_fraction: share of the heavy atoms that is replaced, 0 (returned as it is) to 1 (nothing that is free is
                kept).
            targets: wanted properties, the same for all or one each; None follows the data.
            seed: the same seed gives the same molecules.
            options: see ``SamplingOptions``.
            free: of each parent which heavy atoms may be replaced, (heavy atoms,) bool in the order they have in the
                parent; None: all.
            depth: 1 grows the part from noise; less revises what is there, which then keeps its number of atoms.
            size_change: by how many atoms the new part may grow; it may lose as many, or a few more.
            heavy_atoms: smallest and largest number of heavy atoms of the result; None for all that were learned.
            elements: atomic numbers of the elements that new heavy atoms may have; None for all that were learned.
            should_stop: asked often.
            on_progress: told the number of attempts that are done.

        Raises:
            InputError: ``mask_fraction`` or ``depth`` is outside 0 to 1; there is no parent, or one is too large or
                without bonds.
        """
        if not parents:
            raise InputError("there is no parent to grow molecules from")
        if not 0 < depth <= 1:
            raise InputError(f"depth is {depth}; 1 grows a part from noise, a small number above 0 only polishes it")
        wanted = self._targets(targets, n)
        random = np.random.default_rng((seed, 1))
        frames = [_Frame.of(self._checked(parent)) for parent in parents]
        fewest, most = heavy_atoms or self.domain.heavy_atoms
        chosen = replace(self._with_elements(options or SamplingOptions(), elements), depth=depth)
        skeletons = []
        for attempt in range(n):
            place = attempt % len(frames)
            frame = frames[place]
            new = patch(frame.orders, mask_fraction, random, None if free is None else free[place])
            if depth < 1 or not new.any():
                skeletons.append(Skeleton.draft(frame.molecule, frame.heavy, new))
            else:
                kept = frame.heavy[~new]
                room = min(most, self.vocabulary.most_atoms, len(frame.heavy) + size_change) - len(kept)
                skeletons.append(Skeleton.of(frame.molecule, kept, max(1, room)))
        origins: list[int | None] = [attempt % len(parents) for attempt in range(n)]
        return self._run(skeletons, origins, parents, wanted, seed, chosen, should_stop, on_progress, (fewest, most))

    def _checked(self, parent: Molecule) -> Molecule:
        """The parent; raises InputError if it is beyond what was learned."""
        if reason := self.domain.refusal(parent.numbers):
            raise InputError(f"a parent is outside the domain of the generator: {reason}")
        if strange := set(parent.charges.tolist()) - set(self.vocabulary.charges):
            raise InputError(
                f"a parent has formal charges {sorted(strange)}; the generator knows {list(self.vocabulary.charges)}"
            )
        return parent

    def _with_elements(self, options: SamplingOptions, elements: Sequence[int] | None) -> SamplingOptions:
        if elements is None:
            return options
        self.vocabulary.check_elements(elements)
        return replace(options, elements=tuple(sorted(elements)))

    def _targets(self, targets: Targeted, n: int) -> list[Targets]:
        wanted = [targets or {}] * n if targets is None or isinstance(targets, Mapping) else list(targets)
        if len(wanted) != n:
            raise InputError(f"there are {len(wanted)} targets for {n} molecules")
        for name in {name for target in wanted for name in target}:
            self.range_of(name)
        return wanted

    def _draw_size(self, targets: Targets, heavy_atoms: tuple[int, int], random: np.random.Generator) -> int:
        weights = self.sizes.weights(targets)
        places = np.arange(len(weights))
        inside = (places >= max(1, heavy_atoms[0])) & (places <= heavy_atoms[1])
        if (weights * inside).sum() == 0:
            weights = self.sizes.totals
        if (weights * inside).sum() == 0:
            known = np.flatnonzero(self.sizes.totals)
            raise InputError(f"heavy_atoms is {heavy_atoms}; the generator learned {known.min()} to {known.max()}")
        return int(random.choice(len(weights), p=weights * inside / (weights * inside).sum()))

    def _run(
        self,
        skeletons: Sequence[Skeleton],
        origins: Sequence[int | None],
        parents: Sequence[Molecule],
        targets: Sequence[Targets],
        seed: int,
        options: SamplingOptions,
        should_stop: Callable[[], bool],
        on_progress: Callable[[int], None] | None,
        heavy_atoms: tuple[int, int],
    ) -> Generated:
        """Complete the skeletons, batches of like size, and keep those that are molecules, in order."""
        order = np.argsort([len(s.numbers) for s in skeletons], kind="stable")
        done: dict[int, GeneratedMolecule] = {}
        refused: Counter[str] = Counter()
        attempts = 0
        while attempts < len(order) and not should_stop():
            chosen = order[attempts : attempts + self._batch]
            try:
                filled = fill(
                    self.denoiser,
                    [skeletons[i] for i in chosen],
                    [targets[i] for i in chosen],
                    Seeded(
                        [_seed(seed, int(i)) for i in chosen], [len(skeletons[i].numbers) for i in chosen], self.device
                    ),
                    options,
                    self.device,
                )
            except (torch.OutOfMemoryError, MemoryError):
                if self._batch == 1:
                    raise
                self._batch //= 2
                continue
            attempts += len(chosen)
            for index, skeleton in zip(chosen, filled, strict=True):
                origin = origins[index]
                if not heavy_atoms[0] <= len(skeleton.numbers) <= heavy_atoms[1]:
                    refused["size"] += 1
                    continue
                try:
                    done[int(index)] = complete(skeleton, None if origin is None else parents[origin])
                except InvalidMolecule as error:
                    refused[error.reason] += 1
            if on_progress is not None:
                on_progress(attempts)
        kept = sorted(done)
        return Generated([done[i] for i in kept], [origins[i] for i in kept], kept, attempts, refused)


@dataclass(frozen=True)
class _Frame:
    """What is needed of a parent."""

    molecule: Molecule
    heavy: np.ndarray  # indices
    orders: np.ndarray  # (heavy, heavy)

    @classmethod
    def of(cls, molecule: Molecule) -> "_Frame":
        heavy = np.flatnonzero(molecule.numbers != 1)
        return cls(molecule, heavy, order_matrix(molecule)[np.ix_(heavy, heavy)])


def _seed(seed: int, number: int) -> int:
    """A seed of one trajectory, 63 bits."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
