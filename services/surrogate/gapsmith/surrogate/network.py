"""One equivariant trunk, many heads: molecules in, an ensemble's view of every quantity out."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gapsmith.surrogate import electronic_inputs, heads
from gapsmith.surrogate.config import Config
from gapsmith.surrogate.electronic_inputs import BOND_FUNCTIONS, ElectronicInputs
from gapsmith.surrogate.graph import Graph
from gapsmith.surrogate.heads import Features, Head, Members
from gapsmith.surrogate.layers import EPSILON, Interaction, RadialBasis
from gapsmith.surrogate.quantities import ENERGY_OF_FORCES, FORCES

POOL_HEADS = 8
DERIVED = ("lumo", FORCES)  # from other heads


class PairGeometry(NamedTuple):
    """Geometry of all pairs, once for all layers."""

    basis: Tensor  # (pairs, radial), and functions of the bond order beside them where the network sees it
    unit: Tensor  # (pairs, 3), from the sender to the receiver
    first: Tensor  # (pairs,)
    second: Tensor  # (pairs,)


class Output(NamedTuple):
    """What the network says."""

    heads: dict[str, Members]  # by name
    latent: Tensor  # (molecules, latent)
    atoms: Tensor  # (atoms, latent)


class Trunk(nn.Module):
    """Atoms and pairs to features; linear layers may run in bfloat16 on a GPU, geometry never does."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.trunk
        self.cutoff, self.vector_features = size.cutoff_angstrom, size.vector_features
        self.low_precision = False
        self.embedding = nn.Embedding(config.most_element + 1, size.features)
        self.radial = RadialBasis(size.radial, size.cutoff_angstrom)
        self.electronic, bond = None, BOND_FUNCTIONS if size.electronic else 0
        if size.electronic:
            self.electronic = ElectronicInputs(size.features, size.latent, size.cutoff_angstrom)
        self.interactions = nn.ModuleList(
            Interaction(size.layer, size.features, size.vector_features, size.radial, bond, size.attention_heads)
            for _ in range(size.layers)
        )
        self.atomwise = nn.Sequential(
            nn.LayerNorm(size.features + size.vector_features),
            nn.Linear(size.features + size.vector_features, size.latent),
            nn.SiLU(),
        )
        self.pool = nn.Linear(size.latent, POOL_HEADS)
        self.whole = nn.Sequential(nn.Linear(2 * size.latent, size.latent), nn.SiLU())

    def forward(self, graph: Graph) -> Features:
        """Features of atoms and molecules."""
        pairs = self.geometry(graph)
        s = self.embedding(graph.numbers)
        whole = s.new_zeros(())  # what molecules get beside their atoms
        if self.electronic is not None:
            more, whole = self.electronic(electronic_inputs.of(graph), graph)
            s = s + more
        v = s.new_zeros(len(s), 3, self.vector_features)
        with torch.autocast(s.device.type, torch.bfloat16, enabled=self.low_precision and s.is_cuda):
            for interaction in self.interactions:
                s, v = interaction(s, v, pairs, graph)
        atoms = self.atomwise(torch.cat([s, (v.square().sum(1) + EPSILON).sqrt()], dim=-1))
        score = heads.shares(self.pool(atoms), graph)  # (atoms, POOL_HEADS)
        focus = (atoms.unflatten(-1, (POOL_HEADS, -1)) * score.unsqueeze(-1)).flatten(-2)
        mean = atoms / graph.sizes[graph.molecule].unsqueeze(-1).to(atoms.dtype)
        molecules = self.whole(heads.per_molecule(torch.cat([focus, mean], dim=-1), graph)) + whole
        return Features(atoms, v, molecules, graph)

    def geometry(self, graph: Graph) -> PairGeometry:
        """Radial functions and directions of all pairs; on a CPU, where that costs no waiting, only of those in reach."""
        first, second = graph.first, graph.second
        arrow = graph.coordinates[first] - graph.coordinates[second]
        distance = (arrow.square().sum(-1) + 1e-12).sqrt()
        orders = distance if self.electronic is None else electronic_inputs.of(graph).orders
        if not distance.is_cuda:
            near = (distance < self.cutoff).nonzero().squeeze(-1)
            first, second, arrow, distance, orders = (x[near] for x in (first, second, arrow, distance, orders))
        basis = self.radial(distance)
        if self.electronic is not None:
            basis = torch.cat([basis, self.electronic.bonds(orders, distance)], dim=-1)
        return PairGeometry(basis, arrow / distance.unsqueeze(-1), first, second)


class SurrogateNetwork(nn.Module):
    """The trunk with its heads, and what calibration found out about them.

    A network that sees GFN2-xTB's electronic structure may carry another that does not, its contrast, which is never
    trained: where the two differ, the molecule is unlike the training data.
    """

    sigma_scale: Tensor  # (heads,): with the next, calibrated standard deviation = scale * raw ** power, base unit
    sigma_power: Tensor  # (heads,)
    interval: Tensor  # (heads, 2): half a 90 % interval in calibrated standard deviations, see Calibration
    latent_mean: Tensor  # (latent,)
    latent_whitening: Tensor  # (latent, latent)
    ood_threshold: Tensor  # (): distance in the whitened latent space beyond which a molecule is out of distribution
    difference_threshold: Tensor  # (): difference of the gap from the contrast's beyond which it is, too, eV

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, size = config, config.trunk
        self.names = tuple(config.heads)
        self.compiled = False  # whether training runs compiled layers
        self.contrast = None
        if config.contrast is not None:
            self.contrast = SurrogateNetwork(config.contrast).requires_grad_(False)
        self.trunk = Trunk(config)
        self.heads = nn.ModuleDict({name: heads.make(name, config) for name in self.names if name not in DERIVED})
        self.lumo_noise = None
        if "lumo" in self.names:
            self.lumo_noise = heads.Head(config).noise
        self.task_log_variance = nn.Parameter(torch.zeros(len(self.names)), config.training.task_weights == "learnt")
        # set by calibration after training; in double precision, so that weights in half precision leave them alone
        self.register_buffer("force_scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("sigma_scale", torch.ones(len(self.names), dtype=torch.float64))
        self.register_buffer("sigma_power", torch.ones(len(self.names), dtype=torch.float64))
        self.register_buffer("interval", torch.full((len(self.names), 2), 1.6448536269514722, dtype=torch.float64))
        self.register_buffer("latent_mean", torch.zeros(size.latent, dtype=torch.float64))
        self.register_buffer("latent_whitening", torch.eye(size.latent, dtype=torch.float64))
        self.register_buffer("ood_threshold", torch.full((), float("inf"), dtype=torch.float64))
        self.register_buffer("difference_threshold", torch.full((), float("inf"), dtype=torch.float64))

    force_scale: Tensor  # (), eV / angstrom

    def head(self, name: str) -> Head:
        """A head that is not derived from others."""
        found = self.heads[name]
        assert isinstance(found, Head)
        return found

    def scale(self, name: str) -> Tensor:
        """What errors of a head are measured in, (), base unit."""
        if name == FORCES:
            return self.force_scale
        return self.head("gap" if name == "lumo" else name).scale

    def forward(self, graph: Graph, wanted: Collection[str] | None = None) -> Output:
        """Predictions; of ``wanted`` heads, or of all but forces, which cost a backward pass."""
        names = [name for name in self.names if (name != FORCES if wanted is None else name in wanted)]
        if FORCES in names:
            graph = _differentiable(graph)
        eager = self.compiled and (FORCES in names or not self.training)  # what is compiled knows one derivative
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() or FORCES in names),
            torch.compiler.set_stance("force_eager") if eager else nullcontext(),
        ):
            features = self.trunk(graph)
            needed = set(names) | ({"homo", "gap"} if "lumo" in names else set())
            needed |= {ENERGY_OF_FORCES} if FORCES in names else set()
            found: dict[str, Members] = {name: self.head(name)(features) for name in self.heads if name in needed}
            if "lumo" in names:
                assert self.lumo_noise is not None
                noise = torch.clamp(self.lumo_noise(features.molecules.detach()), -16.0, 6.0)
                found["lumo"] = Members(found["homo"].mean + found["gap"].mean, noise)
            if FORCES in names:
                found[FORCES] = self._forces(found[ENERGY_OF_FORCES], graph)
        return Output({name: found[name] for name in names}, features.molecules, features.atoms)

    def _forces(self, energy: Members, graph: Graph) -> Members:
        """Minus the gradient of the mean energy; (atoms, 3) in place of members."""
        total = energy.mean.mean(-1).sum()
        (gradient,) = torch.autograd.grad(total, graph.coordinates, create_graph=self.training)
        return Members(-gradient.double(), torch.zeros_like(gradient), -gradient.double())


def _differentiable(graph: Graph) -> Graph:
    coordinates = graph.coordinates.detach().requires_grad_()
    return replace(graph, coordinates=coordinates)
