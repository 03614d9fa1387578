"""Skeletons to tensors and back, and filling them in."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from gapsmith.generator.molecule import Skeleton
from gapsmith.generator.network import LENGTH_UNIT_ANGSTROM, Denoiser
from gapsmith.generator.sampling import Randomness, SamplingOptions, Start, Wanted, sample
from gapsmith.generator.vocabulary import Vocabulary
from gapsmith.training.roles import Targets


def fill(
    denoiser: Denoiser,
    skeletons: Sequence[Skeleton],
    targets: Sequence[Targets | None],
    randomness: Randomness,
    options: SamplingOptions,
    device: str = "cpu",
) -> list[Skeleton]:
    """Fill in the unknown atoms of some skeletons in one trajectory; the known ones stay as they are, bit for bit."""
    centres = [_centre(skeleton) for skeleton in skeletons]
    vocabulary = denoiser.vocabulary
    start, wanted = to_tensors(skeletons, centres, vocabulary, device), to_wanted(targets, vocabulary, device)
    end = Start(*(t.cpu() for t in sample(denoiser, start, wanted, randomness, options)))
    filled = []
    for row, (skeleton, centre) in enumerate(zip(skeletons, centres, strict=True)):
        n = len(skeleton.numbers)
        tokens, unknown = end.atoms[row, :n].numpy(), skeleton.unknown
        pairs = unknown[:, None] | unknown[None, :]
        new = end.coordinates[row, :n].double().numpy() * LENGTH_UNIT_ANGSTROM + centre
        whole = replace(
            skeleton,
            numbers=np.where(unknown, vocabulary.number_of_token[tokens], skeleton.numbers),
            coordinates=np.where(unknown[:, None], new, skeleton.coordinates),
            charges=np.where(unknown, vocabulary.charges_of(end.charges[row, :n].numpy()), skeleton.charges),
            orders=np.where(pairs, end.bonds[row, :n, :n].numpy(), skeleton.orders).astype(np.uint8),
        )
        filled.append(whole.without(unknown & (tokens == vocabulary.ghost_atom)))
    return filled


def to_tensors(
    skeletons: Sequence[Skeleton], centres: Sequence[np.ndarray], vocabulary: Vocabulary, device: str = "cpu"
) -> Start:
    """Skeletons padded to the largest, each shifted by its centre (3,), angstrom."""
    batch, n = len(skeletons), max(len(skeleton.numbers) for skeleton in skeletons)
    atoms, charges = np.zeros((batch, n), dtype=np.int64), np.full((batch, n), vocabulary.neutral, dtype=np.int64)
    orders = np.zeros((batch, n, n), dtype=np.int64)
    coordinates = np.zeros((batch, n, 3), dtype=np.float32)
    masked, present, closed = (np.zeros((batch, n), dtype=bool) for _ in range(3))
    for row, (skeleton, centre) in enumerate(zip(skeletons, centres, strict=True)):
        size = len(skeleton.numbers)
        atoms[row, :size] = vocabulary.token_of_number[skeleton.numbers]
        charges[row, :size] = vocabulary.charge_tokens(skeleton.charges)
        orders[row, :size, :size] = skeleton.orders
        coordinates[row, :size] = (skeleton.coordinates - centre) / LENGTH_UNIT_ANGSTROM
        masked[row, :size] = skeleton.unknown
        present[row, :size] = True
        closed[row, :size] = skeleton.closed
    shrinks = np.array([skeleton.shrinks for skeleton in skeletons])
    arrays = (atoms, charges, orders, coordinates, masked, present, shrinks, closed)
    return Start(*(torch.from_numpy(array).to(device) for array in arrays))


def to_wanted(targets: Sequence[Targets | None], vocabulary: Vocabulary, device: str = "cpu") -> Wanted | None:
    """Targets of some molecules as tensors; None if there are none."""
    if not any(targets):
        return None
    names = vocabulary.names
    values, known = torch.zeros(len(targets), len(names)), torch.zeros(len(targets), len(names))
    for row, target in enumerate(targets):
        for column, name in enumerate(names):
            if name in (target or {}):
                values[row, column], known[row, column] = float((target or {})[name]), 1
    return Wanted(values.to(device), known.bool().to(device))


def _centre(skeleton: Skeleton) -> np.ndarray:
    """Where the origin of the trajectory is: the mean of the known atoms, of all of a draft, (3,)."""
    known = ~skeleton.unknown
    if not known.any():
        known = skeleton.numbers != 0
    return np.asarray(skeleton.coordinates[known].mean(0) if known.any() else np.zeros(3))
