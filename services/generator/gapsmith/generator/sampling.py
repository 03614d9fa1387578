"""Undoing the corruption: new molecules out of noise, or a new part for a molecule whose rest stays as it is.

Coordinates follow the straight line towards the predicted ones. Atom, charge and bond tokens appear in the order of the
denoiser's confidence, and those it has come to doubt are masked again. The gap steers by classifier-free guidance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from gapsmith.generator.network import Denoiser, Noisy, Prediction
from gapsmith.generator.vocabulary import ELEMENTS, MASK_ATOM, MASK_BOND, MASK_CHARGE


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample."""

    steps: int = 32
    temperature: float = 0.7  # of the tokens: 1 follows the data, below 1 prefers what is likely
    guidance: float = 2.0  # weight of the gap: 0 ignores it, 1 conditions, above 1 exaggerates
    coordinate_guidance: float = 1.5
    churn: float = 1.0  # noise on the order of appearance: 0 is strictly by confidence
    elements: tuple[int, ...] = ELEMENTS[1:]  # atomic numbers that may appear; hydrogens follow from valences


class Start(NamedTuple):
    """Molecules to complete; everything that is masked is ignored and filled in."""

    atoms: Tensor  # (batch, atoms) int64, atom tokens
    charges: Tensor  # (batch, atoms) int64
    bonds: Tensor  # (batch, atoms, atoms) int64
    coordinates: Tensor  # (batch, atoms, 3), in network units; kept atoms centred on their mean
    masked: Tensor  # (batch, atoms) bool
    present: Tensor  # (batch, atoms) bool


class Randomness(Protocol):
    """Where a trajectory's randomness comes from."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers for atoms, (batch, atoms, 3)."""
        ...

    def gumbel(self, shape: tuple[int, ...]) -> Tensor:
        """Standard Gumbel numbers for atoms (batch, atoms, ...) ."""
        ...

    def pair_gumbel(self, shape: tuple[int, ...]) -> Tensor:
        """Standard Gumbel numbers for pairs (batch, atoms, atoms, ...), symmetric."""
        ...


class Seeded:
    """Randomness of a seed."""

    def __init__(self, seed: int, device: str = "cpu") -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal."""
        return torch.randn(shape, generator=self.generator).to(self.device)

    def gumbel(self, shape: tuple[int, ...]) -> Tensor:
        """Standard Gumbel."""
        uniform = torch.rand(shape, generator=self.generator).clamp(1e-9, 1 - 1e-7)
        return -torch.log(-torch.log(uniform)).to(self.device)

    def pair_gumbel(self, shape: tuple[int, ...]) -> Tensor:
        """Standard Gumbel, the upper triangle mirrored."""
        return _mirror(self.gumbel(shape))


@torch.no_grad()
def sample(
    network: Denoiser,
    start: Start,
    gap_ev: Tensor | None,
    randomness: Randomness,
    options: SamplingOptions,
) -> Start:
    """Complete molecules.

    Args:
        network: the denoiser, in evaluation mode.
        start: what is kept and what is masked.
        gap_ev: (batch,) wanted gaps, or None to follow the data.
        randomness: draws.
        options: steps, temperature, guidance.
    """
    batch, n = start.present.shape
    masked, present = start.masked & start.present, start.present
    kept = present & ~masked
    noise = randomness.normal((batch, n, 3))
    noise = noise - (noise * present[..., None]).sum(1, keepdim=True) / present.sum(1)[:, None, None] * (
        ~kept.any(1)[:, None, None]
    )
    x = torch.where(masked[..., None], noise, start.coordinates)
    open_pairs = present[:, :, None] & present[:, None, :] & ~(kept[:, :, None] & kept[:, None, :])
    open_pairs = open_pairs & ~torch.eye(n, dtype=torch.bool, device=x.device)
    atoms = torch.where(masked, MASK_ATOM, start.atoms)
    charges = torch.where(masked, MASK_CHARGE, start.charges)
    bonds = torch.where(open_pairs, MASK_BOND, start.bonds)
    no_gap, unconditioned = torch.zeros_like(x[:, 0, 0]), torch.zeros(batch, dtype=torch.bool, device=x.device)
    forbidden = torch.tensor([number not in options.elements for number in ELEMENTS], device=x.device)
    before: Prediction | None = None
    for step in range(options.steps):
        now, then = step / options.steps, (step + 1) / options.steps
        times = torch.where(masked, now, 1.0).to(x.dtype)
        noisy = Noisy(atoms, charges, bonds, x, times, present, no_gap, unconditioned)
        prediction = _guided(network, noisy, before, gap_ev, options)
        prediction = prediction._replace(atoms=prediction.atoms.masked_fill(forbidden, -1e9))
        if step == options.steps - 1:
            break
        x = torch.where(masked[..., None], x + (prediction.coordinates - x) * ((then - now) / (1 - now)), x)
        churn = options.churn * (1 - then)
        atoms = _reveal(prediction.atoms, atoms, MASK_ATOM, masked, then, churn, options, randomness.gumbel)
        charges = _reveal(prediction.charges, charges, MASK_CHARGE, masked, then, churn, options, randomness.gumbel)
        bonds = _reveal(prediction.bonds, bonds, MASK_BOND, open_pairs, then, churn, options, randomness.pair_gumbel)
        before = prediction.detached()
    return Start(
        torch.where(masked, prediction.atoms.argmax(-1), start.atoms),
        torch.where(masked, prediction.charges.argmax(-1), start.charges),
        torch.where(open_pairs, prediction.bonds.argmax(-1), start.bonds),
        torch.where(masked[..., None], prediction.coordinates, start.coordinates),
        masked,
        present,
    )


def _guided(
    network: Denoiser, noisy: Noisy, before: Prediction | None, gap_ev: Tensor | None, options: SamplingOptions
) -> Prediction:
    """The prediction, pushed from the unconditional towards and past the conditional one."""
    if gap_ev is None or (options.guidance == 0 and options.coordinate_guidance == 0):
        return network(noisy, before)  # type: ignore[no-any-return]
    conditioned = noisy._replace(gap=network.standardise(gap_ev), conditioned=torch.ones_like(noisy.conditioned))
    if options.guidance == 1 and options.coordinate_guidance == 1:
        return network(conditioned, before)  # type: ignore[no-any-return]
    both = Noisy(*(torch.cat(pair) for pair in zip(conditioned, noisy, strict=True)))
    twice = None if before is None else Prediction(*(torch.cat([part, part]) for part in before))
    result = network(both, twice)
    towards, away = zip(*(part.chunk(2) for part in result), strict=True)
    weights = (options.coordinate_guidance, *[options.guidance] * 3)
    return Prediction(*(a + w * (b - a) for a, b, w in zip(away, towards, weights, strict=True)))


def _reveal(
    logits: Tensor,
    tokens: Tensor,
    mask: int,
    unknown: Tensor,
    share: float,
    churn: float,
    options: SamplingOptions,
    gumbel: Callable[[tuple[int, ...]], Tensor],
) -> Tensor:
    """Show the surest share of the unknown tokens, mask the others."""
    scaled = F.log_softmax(logits / max(options.temperature, 1e-3), -1)
    drawn = (scaled + gumbel(tuple(logits.shape))).argmax(-1)
    candidate = torch.where(tokens == mask, drawn, tokens).where(unknown, torch.zeros_like(tokens))
    sureness = torch.gather(F.log_softmax(logits, -1), -1, candidate[..., None])[..., 0]
    sureness = sureness + churn * gumbel(tuple(tokens.shape))
    flat = torch.where(unknown, sureness, -torch.inf).flatten(1)
    rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1).view(tokens.shape)
    if tokens.dim() == 3:  # both directions of a pair rank next to each other; the better rank decides for both
        rank = torch.minimum(rank, rank.transpose(1, 2))
    shown = rank < (share * unknown.flatten(1).sum(1)).view(-1, *[1] * (tokens.dim() - 1))
    return torch.where(unknown, torch.where(shown, candidate, mask), tokens)


def _mirror(values: Tensor) -> Tensor:
    """Upper triangle of the second and third axis copied to the lower."""
    n = values.shape[1]
    upper = torch.triu(torch.ones(n, n, dtype=torch.bool, device=values.device), 1)
    upper = upper.view(1, n, n, *[1] * (values.dim() - 3))
    return torch.where(upper, values, values.transpose(1, 2))
