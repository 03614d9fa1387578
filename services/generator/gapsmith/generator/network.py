"""The denoiser: a dense E(3)-equivariant transformer over atoms, with a channel for every pair of atoms.

Every layer attends over all atoms with a bias from the pair channel, adds to each atom the *sum* of its pair messages
(a mean could not count valences), moves the coordinates along the vectors between atoms and updates the pair channel.
Time (of each atom), condition and size enter through adaptive layer norm. Distances are the only geometric input and
differences of positions the only geometric output, so predictions turn, mirror and shift with the molecule.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gapsmith.core.errors import InputError
from gapsmith.generator.vocabulary import BOND_ORDERS, BOND_TOKENS, Vocabulary

LENGTH_UNIT_ANGSTROM = 1.2  # about the standard deviation of QM9's heavy atoms
TIME_FREQUENCIES = 8
VOCABULARY = ("elements", "charges", "most_atoms", "properties")  # keys of the configuration


class Noisy(NamedTuple):
    """What the denoiser sees; coordinates in units of LENGTH_UNIT_ANGSTROM."""

    atoms: Tensor  # (batch, atoms) int64, atom tokens, some of them masked
    charges: Tensor  # (batch, atoms) int64, charge tokens
    bonds: Tensor  # (batch, atoms, atoms) int64, bond tokens, symmetric
    coordinates: Tensor  # (batch, atoms, 3)
    times: Tensor  # (batch, atoms), 0 is noise and 1 is data; atoms at exactly 1 are kept where they are
    present: Tensor  # (batch, atoms) bool
    values: Tensor  # (batch, properties), those of the vocabulary in its order and units
    known: Tensor  # (batch, properties) bool: which of them may be looked at


class Prediction(NamedTuple):
    """The clean molecule as the denoiser sees it."""

    coordinates: Tensor  # (batch, atoms, 3)
    atoms: Tensor  # (batch, atoms, kinds) logits
    charges: Tensor  # (batch, atoms, charges) logits
    bonds: Tensor  # (batch, atoms, atoms, orders) logits, symmetric

    def detached(self) -> "Prediction":
        """Probabilities instead of logits, without gradient: what the next pass conditions itself on."""
        return Prediction(
            self.coordinates.detach(),
            self.atoms.detach().softmax(-1),
            self.charges.detach().softmax(-1),
            self.bonds.detach().softmax(-1),
        )


class RadialBasis(nn.Module):
    """Exponential-normal basis of a distance (Unke & Meuwly, PhysNet, 2019), dense at the lengths of bonds."""

    centres: Tensor

    def __init__(self, count: int, decay: float = 1.2) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.0, 1.0, count), persistent=False)
        self.width, self.decay = float(count), decay

    def forward(self, distance: Tensor) -> Tensor:
        """(...,) to (..., count)."""
        return torch.exp(-((self.width * (torch.exp(-self.decay * distance)[..., None] - self.centres)) ** 2))


class Layer(nn.Module):
    """One round of attention, pair messages, coordinate update and feed-forward."""

    def __init__(self, width: int, pair: int, heads: int, condition: int, basis: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.adapt = nn.Linear(condition, 4 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.ends = nn.Linear(width, 2 * pair)
        self.from_pair = nn.Linear(pair, pair, bias=False)
        self.from_distance = nn.Linear(basis, pair, bias=False)
        self.to_bias = nn.Linear(pair, heads + 1 + pair)  # attention bias, coordinate weight, pair update
        self.merge = nn.Linear(width + 2 * pair, width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        for module in (self.adapt, self.merge, self.narrow):
            nn.init.zeros_(module.bias)
        nn.init.zeros_(self.adapt.weight)
        for module in (self.merge, self.narrow, self.to_bias):
            module.weight.data.mul_(0.3)

    def forward(
        self, h: Tensor, e: Tensor, x: Tensor, basis: Tensor, distance: Tensor, c: Tensor, pairs: Tensor, moving: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One layer.

        Args:
            h: (B, N, width) atoms.
            e: (B, N, N, pair) pairs.
            x: (B, N, 3) coordinates.
            basis: (B, N, N, basis) of the distances.
            distance: (B, N, N).
            c: (B, N, condition).
            pairs: (B, N, N) float, 1 for two different atoms that are there.
            moving: (B, N, 1) float, 0 for kept atoms.
        """
        batch, n, width = h.shape
        scale1, shift1, scale2, shift2 = self.adapt(c).chunk(4, -1)  # each (B, N, width)
        normed = F.layer_norm(h, (width,)) * (1 + scale1) + shift1
        left, right = self.ends(normed).chunk(2, -1)
        z = self.from_pair(F.layer_norm(e, (e.shape[-1],))) + self.from_distance(basis)
        m = F.silu(z + left[:, :, None] + right[:, None])  # (B, N, N, pair)
        out = self.to_bias(m)
        bias, weight, update = out[..., : self.heads], out[..., self.heads], out[..., self.heads + 1 :]

        q, k, v = self.qkv(normed).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
        absent = (pairs.sum(-1) == 0)[:, None, None, :]
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias.permute(0, 3, 1, 2)
        attended = scores.masked_fill(absent, -1e4).softmax(-1) @ v
        near = pairs * torch.exp(-((distance / 1.4) ** 2))
        summed = torch.stack([pairs, near], dim=2) @ m  # (B, N, 2, pair)
        h = h + self.merge(
            torch.cat([attended.transpose(1, 2).reshape(batch, n, width), summed.reshape(batch, n, -1) * 0.3], dim=-1)
        )

        pull = weight * pairs / (1 + distance)
        with torch.autocast(x.device.type, enabled=False):  # two large numbers of which the small difference counts
            pull = pull.to(x.dtype)
            x = x + moving * (x * pull.sum(-1, keepdim=True) - pull @ x)
        h = h + self.narrow(F.silu(self.widen(F.layer_norm(h, (width,)) * (1 + scale2) + shift2)))
        return h, e + update, x


class Denoiser(nn.Module):
    """Predicts the clean molecule from a noisy, partly masked one."""

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        pair_width: int,
        heads: int,
        condition_width: int,
        basis: int,
        expansion: int,
        vocabulary: Vocabulary,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        tokens = self.kinds = vocabulary.atom_kinds, len(vocabulary.charges)  # that an atom can turn out to have
        self.radial = RadialBasis(basis)
        self.atom = nn.Embedding(tokens[0] + 1, width)  # and the masked one, here and below
        self.charge = nn.Embedding(tokens[1] + 1, width)
        self.bond = nn.Embedding(BOND_TOKENS, pair_width)
        self.size = nn.Embedding(vocabulary.most_atoms + 1, condition_width)  # of the places, ghosts included
        self.time = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES + 2, condition_width), nn.SiLU(), nn.Linear(condition_width, condition_width)
        )
        self.properties = nn.ModuleList(
            nn.Sequential(
                nn.Linear(2 * TIME_FREQUENCIES + 1, condition_width),
                nn.SiLU(),
                nn.Linear(condition_width, condition_width),
            )
            for _ in vocabulary.properties
        )
        self.unknown = nn.Parameter(torch.zeros(len(vocabulary.properties), condition_width))
        self.before_atom = nn.Linear(sum(tokens), width, bias=False)
        self.before_pair = nn.Linear(len(BOND_ORDERS) + basis, pair_width, bias=False)
        self.distance = nn.Linear(basis, pair_width)
        self.layers = nn.ModuleList(
            Layer(width, pair_width, heads, condition_width, basis, expansion) for _ in range(layers)
        )
        self.atom_out = nn.Linear(width, sum(tokens))
        self.ends_out = nn.Linear(width, pair_width)
        self.pair_out = nn.Linear(pair_width + basis, pair_width)
        self.bond_out = nn.Linear(pair_width, len(BOND_ORDERS))
        for module in (self.before_atom, self.before_pair, self.atom_out, self.bond_out):
            nn.init.zeros_(module.weight)

    def wanted(self, noisy: Noisy) -> Tensor:
        """What the known properties add to the condition, (batch, condition)."""
        total = self.unknown.new_zeros(len(noisy.values), self.unknown.shape[1])
        for place, one in enumerate(self.vocabulary.properties):
            value = (noisy.values[:, place] - one.mean) / one.deviation
            seen = self.properties[place](_features(value / 4, with_end=False))
            total = total + torch.where(noisy.known[:, place, None], seen, self.unknown[place])
        return total

    def forward(self, noisy: Noisy, before: Prediction | None = None) -> Prediction:
        """Predict the clean molecule; ``before`` is an earlier prediction of it (self-conditioning)."""
        present = noisy.present
        n = present.shape[1]
        x = noisy.coordinates
        other = ~torch.eye(n, dtype=torch.bool, device=x.device)
        pairs = (present[:, :, None] & present[:, None, :] & other).to(x.dtype)
        moving = ((noisy.times < 1) & present)[..., None].to(x.dtype)

        c = self.time(_features(noisy.times, with_end=True))
        c = c + (self.wanted(noisy) + self.size(present.sum(1)))[:, None]
        c = F.silu(c)
        h = self.atom(noisy.atoms) + self.charge(noisy.charges)
        distance = _distances(x)
        basis = self.radial(distance)
        e = self.bond(noisy.bonds) + self.distance(basis)
        if before is not None:
            h = h + self.before_atom(torch.cat([before.atoms, before.charges], dim=-1))
            seen = self.radial(_distances(before.coordinates))
            e = e + self.before_pair(torch.cat([before.bonds, seen], dim=-1))
        for layer in self.layers:
            h, e, x = layer(h, e, x, basis, distance, c, pairs, moving)
            distance = _distances(x)
            basis = self.radial(distance)

        h = F.layer_norm(h, (h.shape[-1],))
        atoms, charges = self.atom_out(h).split(self.kinds, dim=-1)
        ends = self.ends_out(h)
        e = F.layer_norm(e + e.transpose(1, 2), (e.shape[-1],))
        e = self.pair_out(torch.cat([e, basis], dim=-1)) + ends[:, :, None] + ends[:, None]
        return Prediction(x, atoms, charges, self.bond_out(F.silu(e)))


def build(config: Mapping[str, Any]) -> Denoiser:
    """A denoiser with random weights; raises InputError on unknown or missing keys."""
    known = default_config().keys()
    if wrong := sorted(config.keys() ^ known):
        raise InputError(
            f"configuration of the generator: {', '.join(wrong)} unknown or missing; keys: {', '.join(known)}"
        )
    try:
        vocabulary = Vocabulary.of(config)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"configuration of the generator: {error}") from error
    sizes = {key: value for key, value in config.items() if key not in VOCABULARY}
    return Denoiser(**sizes, vocabulary=vocabulary)


def default_config() -> dict[str, Any]:
    """The shipped size; properties with their mean and deviation over QM9."""
    return {
        "elements": ["H", "C", "N", "O", "F"],
        "charges": [-1, 0, 1],
        "most_atoms": 16,
        "layers": 6,
        "width": 160,
        "pair_width": 96,
        "heads": 10,
        "condition_width": 64,
        "basis": 20,
        "expansion": 3,
        "properties": [
            {"name": "gap_ev", "mean": 6.858, "deviation": 1.284},
            {"name": "homo_ev", "mean": -6.536, "deviation": 0.598},
            {"name": "lumo_ev", "mean": 0.322, "deviation": 1.275},
            {"name": "dipole_debye", "mean": 2.673, "deviation": 1.503},
            {"name": "polarizability_bohr3", "mean": 75.28, "deviation": 8.17},
        ],
    }


def _distances(x: Tensor) -> Tensor:
    """(B, N, 3) to (B, N, N); a small floor keeps the gradient of the root finite."""
    difference = x[:, :, None] - x[:, None]
    return torch.sqrt((difference * difference).sum(-1) + 1e-6)


def _features(value: Tensor, *, with_end: bool) -> Tensor:
    """Fourier features of a number of order one, (...,) to (..., features); ``with_end`` marks exactly 1."""
    frequency = math.pi * 2.0 ** (torch.arange(TIME_FREQUENCIES, device=value.device) * 0.5)
    angle = value[..., None] * frequency
    parts = [value[..., None], angle.sin(), angle.cos()]
    return torch.cat([*parts, (value[..., None] == 1).to(value.dtype)] if with_end else parts, dim=-1)
