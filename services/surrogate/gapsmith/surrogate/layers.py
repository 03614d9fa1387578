"""Message passing between atoms that have scalar and vector features; kinds of it by name.

Both kinds are equivariant under rotation and reflection: vectors are only ever scaled by scalars and added.
"""

from typing import Final, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from gapsmith.surrogate.graph import Graph

EPSILON = 1e-6
ATTENTION_HEADS = 8  # of the equivariant transformer


class RadialBasis(nn.Module):
    """Gaussians in exp(-d), dense where bonds are (Unke and Meuwly, JCTC 2019), times a smooth cutoff."""

    centres: Tensor
    widths: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        start = float(torch.exp(torch.tensor(0.5 * (0.5 - cutoff))))
        self.register_buffer("centres", torch.linspace(start, 1.0, count), persistent=False)
        self.register_buffer("widths", torch.full((count,), (2 / count * (1 - start)) ** -2), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """Distances (pairs,) in angstrom to (pairs, count); exactly zero from the cutoff on."""
        inside = distance.clamp(max=self.cutoff)
        envelope = 0.5 * (torch.cos(inside * (torch.pi / self.cutoff)) + 1)
        x = torch.exp(0.5 * (0.5 - distance)).unsqueeze(-1)
        return torch.exp(-self.widths * (x - self.centres).square()) * envelope.unsqueeze(-1)


class Filter(nn.Linear):
    """What the radial functions of a pair, and functions of its bond order, make of a message.

    The part of the bond order begins at zero, so that a network without it can be trained further with it.
    """

    def __init__(self, radial: int, bond: int, out: int) -> None:
        super().__init__(radial, out, bias=False)
        self.electronic = nn.Parameter(torch.zeros(out, bond)) if bond else None

    def forward(self, basis: Tensor) -> Tensor:
        """(pairs, radial + bond) to (pairs, out)."""
        return linear(basis, self.weight if self.electronic is None else torch.cat([self.weight, self.electronic], 1))


class Pairs(Protocol):
    """Geometry of all pairs, once for all layers."""

    basis: Tensor  # (pairs, radial + bond)
    unit: Tensor  # (pairs, 3), from the sender to the receiver
    first: Tensor  # (pairs,)
    second: Tensor  # (pairs,)


def collect(messages: Tensor, receiver: Tensor, like: Tensor) -> Tensor:
    """Sum messages (pairs, ...) of any precision into atoms, in the precision of ``like`` (atoms, ...)."""
    return like.new_zeros(len(like), *messages.shape[1:]).index_add(0, receiver, messages.to(like.dtype))


class PaiNNMessage(nn.Module):
    """Continuous filters over scalars, vectors and directions (Schuett, Unke, Gastegger, ICML 2021, section 4)."""

    def __init__(self, features: int, vector_features: int, radial: int, bond: int) -> None:
        super().__init__()
        self.sizes = [features, vector_features, vector_features]
        self.send = nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, sum(self.sizes)))
        self.filter = Filter(radial, bond, sum(self.sizes))

    def forward(self, s: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """What every atom receives: scalars (atoms, F) and vectors (atoms, 3, W)."""
        sent = self.send(s)
        message = sent[pairs.second] * self.filter(pairs.basis)
        scalar, old, new = torch.split(message, self.sizes, dim=-1)
        vector = v.to(message.dtype)[pairs.second] * old.unsqueeze(1)
        vector = torch.addcmul(vector, new.unsqueeze(1), pairs.unit.to(message.dtype).unsqueeze(-1))
        return collect(scalar, pairs.first, s), collect(vector, pairs.first, v)


class TransformerMessage(nn.Module):
    """Attention gated by the distance, without a softmax over neighbours (Thoelke, De Fabritiis, ICLR 2022)."""

    def __init__(self, features: int, vector_features: int, radial: int, bond: int) -> None:
        super().__init__()
        self.sizes = [features, vector_features, vector_features]
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features)
        self.value = nn.Linear(features, sum(self.sizes))
        self.filter = Filter(radial, bond, features + sum(self.sizes))
        self.mix = nn.Linear(features, features)

    def forward(self, s: Tensor, v: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """What every atom receives: scalars (atoms, F) and vectors (atoms, 3, W)."""
        features = s.shape[-1]
        key_filter, value_filter = torch.split(self.filter(pairs.basis), [features, sum(self.sizes)], dim=-1)
        product = self.query(s)[pairs.first] * self.key(s)[pairs.second] * key_filter
        weight = silu(_by_head(product).sum(-1, keepdim=True))  # (pairs, heads, 1)
        parts = torch.split(self.value(s)[pairs.second] * value_filter, self.sizes, dim=-1)
        scalar, old, new = ((_by_head(part) * weight).flatten(-2) for part in parts)
        vector = v.to(old.dtype)[pairs.second] * old.unsqueeze(1)
        vector = torch.addcmul(vector, new.unsqueeze(1), pairs.unit.to(old.dtype).unsqueeze(-1))
        return self.mix(collect(scalar, pairs.first, s)), collect(vector, pairs.first, v)


def _by_head(x: Tensor) -> Tensor:
    """(pairs, features) to (pairs, heads, features of a head)."""
    return x.reshape(len(x), ATTENTION_HEADS, x.shape[-1] // ATTENTION_HEADS)


LAYERS: Final[dict[str, type[nn.Module]]] = {"painn": PaiNNMessage, "equivariant_transformer": TransformerMessage}


class GlobalAttention(nn.Module):
    """Attention of every atom to all atoms of its molecule, without distances (GraphGPS, Rampasek et al., NeurIPS 2022)."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(features, 3 * features)
        self.mix = nn.Linear(features, features)

    def forward(self, s: Tensor, graph: Graph) -> Tensor:
        """Scalars (atoms, F) to what they receive (atoms, F)."""
        from torch_geometric.utils import to_dense_batch  # importing it takes seconds, and few networks need it

        padded, there = to_dense_batch(
            self.project(s), graph.molecule, batch_size=len(graph), max_num_nodes=graph.largest
        )  # (molecules, largest, 3 F), (molecules, largest)
        query, key, value = padded.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        return cast(Tensor, self.mix(seen.transpose(1, 2).flatten(-2)[there]))  # (molecules, heads, largest, F / heads)


class Update(nn.Module):
    """Scalars and vectors of an atom talk to each other (PaiNN, equations 9 and 10), with normalised vectors."""

    def __init__(self, features: int, vector_features: int) -> None:
        super().__init__()
        self.sizes = [features, vector_features]
        self.norm = nn.LayerNorm(features)
        self.vector_mix = nn.Linear(vector_features, 2 * vector_features, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(features + 2 * vector_features, features), nn.SiLU(), nn.Linear(features, sum(self.sizes))
        )

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Scalars (atoms, F) and vectors (atoms, 3, W) after the update."""
        unit = v * torch.rsqrt(v.square().sum(1, keepdim=True).mean(-1, keepdim=True) + EPSILON)
        left, right = self.vector_mix(unit).chunk(2, dim=-1)
        norm = (right.square().sum(1) + EPSILON).sqrt()
        change = self.mlp(torch.cat([self.norm(s).to(norm.dtype), norm, (left * right).sum(1)], dim=-1))
        scalar, gate = torch.split(change, self.sizes, dim=-1)
        return s + scalar.to(s.dtype), v + (left * gate.unsqueeze(1)).to(v.dtype)


class Interaction(nn.Module):
    """One round: messages, attention if wanted, update."""

    def __init__(
        self, layer: str, features: int, vector_features: int, radial: int, bond: int, attention_heads: int
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.message = LAYERS[layer](features, vector_features, radial, bond)
        self.attention = GlobalAttention(features, attention_heads) if attention_heads else None
        self.update = Update(features, vector_features)

    def forward(self, s: Tensor, v: Tensor, pairs: Pairs, graph: Graph) -> tuple[Tensor, Tensor]:
        """Scalars (atoms, F) and vectors (atoms, 3, W) after one round."""
        x = self.norm(s)
        scalar, vector = self.message(x, v, pairs)
        s, v = s + scalar, v + vector
        if self.attention is not None:
            s = s + self.attention(x, graph).to(s.dtype)
        s, v = self.update(s, v)
        return s, v
