"""Equivariant message passing with global attention, and a shallow ensemble of last layers.

Scalar and vector features as in PaiNN (Schuett, Unke, Gastegger, ICML 2021); a message is a continuous filter of the
distance plus the same filter family times a query-key product, summed over every pair within the cutoff, which lies
beyond the size of most molecules here: local and global attention in one. Heads share a filter, so that a message
is a small matrix product and no tensor of edges times features is ever made. Molecules come flat, as PyTorch Geometric
keeps them, and are padded to the largest of the batch inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.utils import to_dense_batch

ELEMENTS = (1, 6, 7, 8, 9)
HOMO_GAP_MEAN_EV = (-6.5, 6.86)  # HOMO and gap over QM9: where the outputs start
EPSILON = 1e-6


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network."""

    features: int = 128
    vector_features: int = 64
    heads: int = 8
    layers: int = 3
    radial: int = 24
    cutoff_angstrom: float = 7.0
    latent: int = 128
    members: int = 16


class Output(NamedTuple):
    """What the network says of each molecule; LUMO is HOMO plus gap by construction."""

    homo_ev: Tensor  # (molecules, members)
    gap_ev: Tensor  # (molecules, members)
    log_variance: Tensor  # (molecules, members), of the gap, log eV^2
    latent: Tensor  # (molecules, latent)


class RadialBasis(nn.Module):
    """Gaussians in exp(-d), dense where bonds are (Unke and Meuwly, 2019), times a smooth cutoff."""

    centres: Tensor
    widths: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        start = torch.exp(torch.tensor(0.5 * (0.5 - cutoff)))
        self.register_buffer("centres", torch.linspace(float(start), 1.0, count), persistent=False)
        self.register_buffer("widths", torch.full((count,), float((2 / count * (1 - start)) ** -2)), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """Distances (..., pairs) in angstrom to (..., count, pairs)."""
        x = torch.exp(0.5 * (0.5 - distance)).unsqueeze(-2)
        envelope = 0.5 * (torch.cos(distance.clamp(max=self.cutoff) * (torch.pi / self.cutoff)) + 1)
        gauss = torch.exp(-self.widths[:, None] * (x - self.centres[:, None]).square())
        return gauss * envelope.unsqueeze(-2)


class Interaction(nn.Module):
    """One round of messages and one update of every atom."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        f, w, h = config.features, config.vector_features, config.heads
        self.heads = h
        self.sizes = [f // h, w // h, w // h, f // h // 2, f // h // 2]  # of a head: value, direction, gate, query, key
        self.scalar_norm = nn.LayerNorm(f)
        self.project = nn.Linear(f, h * sum(self.sizes))
        self.mix = nn.Linear(f, f)
        self.update_norm = nn.LayerNorm(f)
        self.vector_mix = nn.Linear(w, 2 * w, bias=False)
        self.update = nn.Sequential(nn.Linear(f + 2 * w, f), nn.SiLU(), nn.Linear(f, f + w))
        self.scale = self.sizes[-1] ** -0.5

    def forward(self, s: Tensor, v: Tensor, filters: Sequence[Tensor], position: Tensor) -> tuple[Tensor, Tensor]:
        """Scalars (b, n, F) and vectors (b, n, 3, W) after one round.

        Args:
            s: scalar features.
            v: vector features.
            filters: six of (b, heads, n, n), zero for padding and for an atom with itself: of scalars, directions and
                vectors, first the filter, then how much it gains from affinity.
            position: (b, 1, n, 3, 1), centred.
        """
        b, n, _ = s.shape
        h = self.heads
        parts = self.project(self.scalar_norm(s)).view(b, n, h, -1).transpose(1, 2).contiguous()
        value, direction, gate, query, key = torch.split(parts, self.sizes, dim=-1)  # (b, h, n, .)
        affinity = (query * self.scale) @ key.transpose(-1, -2)  # (b, h, n, n)
        near, far, turned = (torch.addcmul(filters[i], filters[i + 3], affinity) for i in range(3))
        scalar = near @ value  # (b, h, n, F/h)
        # the sum over j of far_ij (x_i - x_j) d_j, without a tensor of pairs times three
        charge = direction.unsqueeze(3)
        moments = far @ torch.cat([charge, position * charge], dim=3).flatten(3)  # (b, h, n, 4 W/h)
        total, moment = torch.split(moments.view(b, h, n, 4, -1), [1, 3], dim=3)
        sent = v.view(b, n, 3, h, -1).permute(0, 3, 1, 2, 4) * gate.unsqueeze(3)  # (b, h, n, 3, W/h)
        vector = torch.addcmul((turned @ sent.flatten(3)).view_as(moment) - moment, position, total)
        s = s + self.mix(scalar.transpose(1, 2).reshape(b, n, -1))
        v = v + vector.permute(0, 2, 3, 1, 4).reshape(b, n, 3, -1)
        unit = v * torch.rsqrt(v.square().sum(2, keepdim=True).mean(-1, keepdim=True) + EPSILON)
        left, right = self.vector_mix(unit).chunk(2, dim=-1)
        norm = (right.square().sum(2) + EPSILON).sqrt()
        change = self.update(torch.cat([self.update_norm(s), norm, (left * right).sum(2)], dim=-1))
        scalar_change, vector_gate = torch.split(change, [s.shape[-1], v.shape[-1]], dim=-1)
        return s + scalar_change, v + left * vector_gate.unsqueeze(2)


class GapNetwork(nn.Module):
    """Molecules to an ensemble's HOMO, gap and variance of the gap."""

    offsets: Tensor
    sigma_scale: Tensor  # (): factor on the ensemble's standard deviation
    latent_mean: Tensor  # (latent,)
    latent_whitening: Tensor  # (latent, latent)
    ood_threshold: Tensor  # (): distance in the whitened latent space beyond which a molecule is out of distribution

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        f, w, m = config.features, config.vector_features, config.members
        self.embedding = nn.Embedding(max(ELEMENTS) + 1, f)
        self.radial = RadialBasis(config.radial, config.cutoff_angstrom)
        self.filters = nn.Parameter(torch.randn(config.layers * 6 * config.heads, config.radial) * 0.2)
        self.interactions = nn.ModuleList(Interaction(config) for _ in range(config.layers))
        self.atomwise = nn.Sequential(nn.LayerNorm(f + w), nn.Linear(f + w, config.latent), nn.SiLU())
        self.pool_heads = 8
        self.pool = nn.Linear(config.latent, self.pool_heads)
        self.graph = nn.Sequential(nn.Linear(2 * config.latent, config.latent), nn.SiLU())
        self.means = nn.Linear(config.latent, 2 * m)
        last = nn.Linear(64, m)
        nn.init.constant_(last.bias, -2.0)
        self.variances = nn.Sequential(nn.Linear(config.latent, 64), nn.SiLU(), last)
        self.register_buffer("offsets", torch.tensor(HOMO_GAP_MEAN_EV), persistent=False)
        # set by calibration after training; in double precision, so that weights in half precision leave them alone
        self.register_buffer("sigma_scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("latent_mean", torch.zeros(config.latent, dtype=torch.float64))
        self.register_buffer("latent_whitening", torch.eye(config.latent, dtype=torch.float64))
        self.register_buffer("ood_threshold", torch.full((), float("inf"), dtype=torch.float64))

    def trunk(self, numbers: Tensor, coordinates: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scalar (b, n, F) and vector (b, n, 3, W) features of padded molecules.

        Args:
            numbers: (b, n), atomic numbers, zero for padding.
            coordinates: (b, n, 3), angstrom.
            mask: (b, n), true for atoms.
        """
        b, n = numbers.shape
        weight = mask.unsqueeze(-1).to(coordinates.dtype)
        centre = (coordinates * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        position = (coordinates - centre) * weight  # (b, n, 3)
        distance = ((position.unsqueeze(2) - position.unsqueeze(1)).square().sum(-1) + EPSILON).sqrt()  # (b, n, n)
        pairs = mask.unsqueeze(2) & mask.unsqueeze(1) & ~torch.eye(n, dtype=torch.bool, device=mask.device)
        basis = self.radial(distance.flatten(1)) * pairs.flatten(1).unsqueeze(1)  # (b, radial, n n)
        filters = (self.filters @ basis).view(b, 6 * self.config.layers, self.config.heads, n, n).unbind(1)
        s = self.embedding(numbers)
        v = s.new_zeros(b, n, 3, self.config.vector_features)
        for index, interaction in enumerate(self.interactions):
            s, v = interaction(s, v, filters[6 * index : 6 * index + 6], position[:, None, :, :, None] / 3)
        return s, v

    def forward(self, numbers: Tensor, coordinates: Tensor, molecule: Tensor, count: int) -> Output:
        """Predictions for molecules whose atoms are concatenated.

        Args:
            numbers: (atoms,) int64, atomic numbers, one of ``ELEMENTS``.
            coordinates: (atoms, 3) float32, angstrom.
            molecule: (atoms,) int64, ascending: which molecule an atom belongs to.
            count: number of molecules.
        """
        dense, mask = to_dense_batch(coordinates, molecule, batch_size=count)
        padded, _ = to_dense_batch(numbers, molecule, batch_size=count)
        s, v = self.trunk(padded, dense, mask)
        atoms = self.atomwise(torch.cat([s, (v.square().sum(2) + EPSILON).sqrt()], dim=-1))  # (b, n, latent)
        score = self.pool(atoms).masked_fill(~mask.unsqueeze(-1), float("-inf")).softmax(dim=1)  # (b, n, 8)
        focus = torch.einsum("bnh,bnhc->bhc", score, atoms.unflatten(-1, (self.pool_heads, -1))).flatten(1)
        mean = (atoms * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        latent = self.graph(torch.cat([focus, mean], dim=-1))
        homo, gap = (self.means(latent).unflatten(-1, (2, -1)) + self.offsets[:, None]).unbind(1)
        return Output(homo, gap, self.variances(latent.detach()).clamp(-12.0, 6.0), latent)
