"""Undoing the corruption: new molecules out of noise, or a new part for a molecule whose rest stays as it is.

Coordinates follow the straight line towards the predicted ones. Atom, charge and bond tokens appear in the order of the
denoiser's confidence, and those it has come to doubt are masked again; how many are masked at a time is a schedule with
a knob. Wanted properties steer by classifier-free guidance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from gapsmith.generator.diffusion import match
from gapsmith.generator.network import Denoiser, Noisy, Prediction
from gapsmith.generator.vocabulary import MASK_BOND


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample."""

    steps: int = 32
    temperature: float = 0.7  # of the tokens: 1 follows the data, below 1 prefers what is likely
    guidance: float = 2.0  # weight of the wanted properties: 0 ignores them, 1 conditions, above 1 exaggerates
    coordinate_guidance: float = 1.5
    churn: float = 1.0  # noise on the order of appearance: 0 is strictly by confidence
    mask_schedule: float = 1.0  # at time t the share t ** mask_schedule of the tokens is unmasked; 0.5 sooner, 2 later
    depth: float = 1.0  # from how far back a masked part comes: 1 is noise, near 0 a polish of what was there
    elements: tuple[int, ...] | None = (
        None  # atomic numbers of heavy atoms that may appear; None: all that were learned
    )


class Start(NamedTuple):
    """Molecules to complete; what is masked is ignored and filled in, unless the depth is below 1: then it is revised."""

    atoms: Tensor  # (batch, atoms) int64, atom tokens
    charges: Tensor  # (batch, atoms) int64
    bonds: Tensor  # (batch, atoms, atoms) int64
    coordinates: Tensor  # (batch, atoms, 3), in network units; kept atoms centred on their mean
    masked: Tensor  # (batch, atoms) bool
    present: Tensor  # (batch, atoms) bool
    ghosts: Tensor  # (batch,) bool: whether masked atoms may turn out to be ghosts
    closed: Tensor  # (batch, atoms) bool: kept atoms that take no bond to a masked one


class Wanted(NamedTuple):
    """Wanted properties, in the vocabulary's order and units."""

    values: Tensor  # (batch, properties)
    known: Tensor  # (batch, properties) bool


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
    """Randomness of one seed a molecule, drawn for its own atoms only: the others of the batch do not change it."""

    def __init__(self, seeds: Sequence[int], sizes: Sequence[int], device: str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.sizes, self.device = list(sizes), device

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal; 0 where padded."""
        drawn = torch.zeros(shape)
        for row, (generator, size) in enumerate(zip(self.generators, self.sizes, strict=True)):
            drawn[row, :size] = torch.randn((size, *shape[2:]), generator=generator)
        return drawn.to(self.device)

    def gumbel(self, shape: tuple[int, ...]) -> Tensor:
        """Standard Gumbel; padded places are constant."""
        uniform = torch.full(shape, 0.5)
        for row, (generator, size) in enumerate(zip(self.generators, self.sizes, strict=True)):
            uniform[row, :size] = torch.rand((size, *shape[2:]), generator=generator)
        return _gumbel(uniform).to(self.device)

    def pair_gumbel(self, shape: tuple[int, ...]) -> Tensor:
        """Standard Gumbel, the upper triangle mirrored; padded places are constant."""
        uniform = torch.full(shape, 0.5)
        for row, (generator, size) in enumerate(zip(self.generators, self.sizes, strict=True)):
            uniform[row, :size, :size] = torch.rand((size, size, *shape[3:]), generator=generator)
        return _mirror(_gumbel(uniform)).to(self.device)


@torch.no_grad()
def sample(
    network: Denoiser,
    start: Start,
    wanted: Wanted | None,
    randomness: Randomness,
    options: SamplingOptions,
) -> Start:
    """Complete molecules.

    Args:
        network: the denoiser, in evaluation mode.
        start: what is kept and what is masked.
        wanted: wanted properties, or None to follow the data.
        randomness: draws.
        options: steps, temperature, guidance.
    """
    (batch, n), vocabulary = start.present.shape, network.vocabulary
    masked, present = start.masked & start.present, start.present
    kept = present & ~masked
    noise = randomness.normal((batch, n, 3))
    noise = noise - (noise * present[..., None]).sum(1, keepdim=True) / present.sum(1)[:, None, None] * (
        ~kept.any(1)[:, None, None]
    )
    begin = 1 - options.depth
    if begin > 0:  # as in training, noise lies near what it will become
        noise = match(noise, start.coordinates, masked, turn=~kept.any(1))
    x = torch.where(masked[..., None], torch.lerp(noise, start.coordinates, begin), start.coordinates)
    open_pairs = present[:, :, None] & present[:, None, :] & ~(kept[:, :, None] & kept[:, None, :])
    open_pairs = open_pairs & ~torch.eye(n, dtype=torch.bool, device=x.device)
    open_pairs = open_pairs & ~(start.closed[:, :, None] | start.closed[:, None, :])
    share = begin**options.mask_schedule if begin > 0 else 0.0
    hidden = torch.exp(-torch.exp(-randomness.gumbel((batch, n)))) >= share
    hidden_pairs = torch.exp(-torch.exp(-randomness.pair_gumbel((batch, n, n)))) >= share
    atoms = torch.where(masked & hidden, vocabulary.mask_atom, start.atoms)
    charges = torch.where(masked & hidden, vocabulary.mask_charge, start.charges)
    bonds = torch.where(open_pairs & hidden_pairs, MASK_BOND, start.bonds)
    if wanted is None:
        properties = len(vocabulary.properties)
        wanted = Wanted(x.new_zeros(batch, properties), present.new_zeros(batch, properties))
    allowed = vocabulary.heavy_elements if options.elements is None else options.elements
    forbidden = torch.tensor([number not in allowed for number in vocabulary.elements] + [False], device=x.device)
    kinds = torch.arange(vocabulary.atom_kinds, device=x.device)
    forbidden = forbidden | ~start.ghosts[:, None, None] & (kinds == vocabulary.ghost_atom)
    before: Prediction | None = None
    steps = max(1, round(options.steps * options.depth))
    for step in range(steps):
        now, then = begin + options.depth * step / steps, begin + options.depth * (step + 1) / steps
        times = torch.where(masked, now, 1.0).to(x.dtype)
        noisy = Noisy(atoms, charges, bonds, x, times, present, *wanted)
        prediction = _guided(network, noisy, before, options)
        prediction = prediction._replace(atoms=prediction.atoms.masked_fill(forbidden, -1e9))
        if step == steps - 1:
            break
        x = torch.where(masked[..., None], x + (prediction.coordinates - x) * ((then - now) / (1 - now)), x)
        churn, share = options.churn * (1 - then), then**options.mask_schedule
        mask_atom, mask_charge = vocabulary.mask_atom, vocabulary.mask_charge
        atoms = _reveal(prediction.atoms, atoms, mask_atom, masked, share, churn, options, randomness.gumbel)
        charges = _reveal(prediction.charges, charges, mask_charge, masked, share, churn, options, randomness.gumbel)
        bonds = _reveal(prediction.bonds, bonds, MASK_BOND, open_pairs, share, churn, options, randomness.pair_gumbel)
        before = prediction.detached()
    return Start(
        torch.where(masked, prediction.atoms.argmax(-1), start.atoms),
        torch.where(masked, prediction.charges.argmax(-1), start.charges),
        torch.where(open_pairs, prediction.bonds.argmax(-1), start.bonds),
        torch.where(masked[..., None], prediction.coordinates, start.coordinates),
        masked,
        present,
        start.ghosts,
        start.closed,
    )


def _guided(network: Denoiser, noisy: Noisy, before: Prediction | None, options: SamplingOptions) -> Prediction:
    """The prediction, pushed from the unconditional towards and past the conditional one."""
    free = noisy._replace(known=torch.zeros_like(noisy.known))
    if options.guidance == 0 and options.coordinate_guidance == 0:
        return cast(Prediction, network(free, before))
    if not bool(noisy.known.any()) or (options.guidance == 1 and options.coordinate_guidance == 1):
        return cast(Prediction, network(noisy, before))
    both = Noisy(*(torch.cat(pair) for pair in zip(noisy, free, strict=True)))
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


def _gumbel(uniform: Tensor) -> Tensor:
    return -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))


def _mirror(values: Tensor) -> Tensor:
    """Upper triangle of the second and third axis copied to the lower."""
    n = values.shape[1]
    upper = torch.triu(torch.ones(n, n, dtype=torch.bool, device=values.device), 1)
    upper = upper.view(1, n, n, *[1] * (values.dim() - 3))
    return torch.where(upper, values, values.transpose(1, 2))
