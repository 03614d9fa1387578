"""Skeletons to tensors and back, and filling them in."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from gapsmith.generator.molecule import Skeleton
from gapsmith.generator.network import LENGTH_UNIT_ANGSTROM, Denoiser
from gapsmith.generator.sampling import Randomness, SamplingOptions, Start, sample
from gapsmith.generator.vocabulary import NEUTRAL, NUMBER_OF_TOKEN, TOKEN_OF_NUMBER


def fill(
    denoiser: Denoiser,
    skeletons: Sequence[Skeleton],
    gap_ev: float | None,
    randomness: Randomness,
    options: SamplingOptions,
    device: str = "cpu",
) -> list[Skeleton]:
    """Fill in the unknown atoms of some skeletons in one trajectory; the known ones stay as they are, bit for bit."""
    centres = [_centre(skeleton) for skeleton in skeletons]
    start = to_tensors(skeletons, centres, device)
    gaps = None if gap_ev is None else torch.full((len(skeletons),), float(gap_ev), device=device)
    end = Start(*(tensor.cpu() for tensor in sample(denoiser, start, gaps, randomness, options)))
    filled = []
    for row, (skeleton, centre) in enumerate(zip(skeletons, centres, strict=True)):
        n = len(skeleton.numbers)
        unknown = skeleton.numbers == 0
        pairs = unknown[:, None] | unknown[None, :]
        new = end.coordinates[row, :n].double().numpy() * LENGTH_UNIT_ANGSTROM + centre
        filled.append(
            replace(
                skeleton,
                numbers=np.where(unknown, NUMBER_OF_TOKEN[end.atoms[row, :n].numpy()], skeleton.numbers),
                coordinates=np.where(unknown[:, None], new, skeleton.coordinates),
                charges=np.where(unknown, end.charges[row, :n].numpy() - NEUTRAL, skeleton.charges).astype(np.int8),
                orders=np.where(pairs, end.bonds[row, :n, :n].numpy(), skeleton.orders).astype(np.uint8),
            )
        )
    return filled


def to_tensors(skeletons: Sequence[Skeleton], centres: Sequence[np.ndarray], device: str = "cpu") -> Start:
    """Skeletons padded to the largest, each shifted by its centre (3,), angstrom."""
    batch, n = len(skeletons), max(len(skeleton.numbers) for skeleton in skeletons)
    atoms, charges = np.zeros((batch, n), dtype=np.int64), np.full((batch, n), NEUTRAL, dtype=np.int64)
    orders = np.zeros((batch, n, n), dtype=np.int64)
    coordinates = np.zeros((batch, n, 3), dtype=np.float32)
    masked, present = np.zeros((batch, n), dtype=bool), np.zeros((batch, n), dtype=bool)
    for row, (skeleton, centre) in enumerate(zip(skeletons, centres, strict=True)):
        size = len(skeleton.numbers)
        atoms[row, :size] = TOKEN_OF_NUMBER[skeleton.numbers]
        charges[row, :size] = skeleton.charges.astype(np.int64) + NEUTRAL
        orders[row, :size, :size] = skeleton.orders
        coordinates[row, :size] = (skeleton.coordinates - centre) / LENGTH_UNIT_ANGSTROM
        masked[row, :size] = skeleton.numbers == 0
        present[row, :size] = True
    return Start(*(torch.from_numpy(a).to(device) for a in (atoms, charges, orders, coordinates, masked, present)))


def _centre(skeleton: Skeleton) -> np.ndarray:
    """Mean position of the known atoms, the origin if there are none, (3,)."""
    known = skeleton.numbers != 0
    return np.asarray(skeleton.coordinates[known].mean(0) if known.any() else np.zeros(3))
