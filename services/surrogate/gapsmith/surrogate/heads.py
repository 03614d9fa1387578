"""From atoms and molecules to quantities, each by an ensemble of last layers with its own noise.

Members start from different random numbers. The noise is read off detached features: fitting it cannot make a mean
worse, which is what beta-NLL is for (Seitzer et al., ICLR 2022), taken to its end. Means come out in the base unit of
the quantity and in double precision, since total energies have more digits than a float.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gapsmith.core.units import DEBYE_TO_E_ANGSTROM
from gapsmith.surrogate import electronic_inputs
from gapsmith.surrogate.config import Config
from gapsmith.surrogate.graph import Graph
from gapsmith.surrogate.quantities import quantity

NOISE_HIDDEN = 32
FIRST_LOG_VARIANCE = -4.0


class Features(NamedTuple):
    """What heads see."""

    atoms: Tensor  # (atoms, latent)
    vectors: Tensor  # (atoms, 3, W)
    molecules: Tensor  # (molecules, latent)
    graph: Graph


class Members(NamedTuple):
    """What an ensemble says of one quantity."""

    mean: Tensor  # (molecules or atoms, members) float64, base unit
    log_variance: Tensor  # (molecules or atoms, members), of the error in units of the head's scale
    vector: Tensor | None = None  # (molecules, 3) or (atoms, 3) float64, mean over the members, where there is one


def per_molecule(values: Tensor, graph: Graph) -> Tensor:
    """Sum over the atoms of every molecule: (atoms, ...) to (molecules, ...)."""
    return values.new_zeros(len(graph), *values.shape[1:]).index_add(0, graph.molecule, values)


def shares(scores: Tensor, graph: Graph) -> Tensor:
    """Softmax over the atoms of every molecule: (atoms, k) to (atoms, k)."""
    place = graph.molecule.unsqueeze(-1).expand_as(scores)
    none = scores.new_zeros(len(graph), scores.shape[1])
    largest = none.scatter_reduce(0, place, scores.detach(), "amax", include_self=False)
    weights = (scores - largest[graph.molecule]).exp()
    return weights / per_molecule(weights, graph)[graph.molecule]


class Readout(nn.Module):
    """One hidden layer, then a last layer for every member."""

    def __init__(self, latent: int, members: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(latent, latent), nn.SiLU())
        self.last = nn.Linear(latent, members)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, latent) to (rows, members) float64."""
        out: Tensor = self.last(self.hidden(x))
        return out.double()


class Head(nn.Module):
    """What all heads share: noise, scale and references."""

    scale: Tensor  # (), base unit: what an error is measured in
    offset: Tensor  # (), base unit, of a molecule
    reference: Tensor  # (largest atomic number + 1,), base unit, of an atom of each element

    def __init__(self, config: Config) -> None:
        super().__init__()
        latent, members = config.trunk.latent, config.ensemble.members
        self.readout = Readout(latent, members)
        last = nn.Linear(NOISE_HIDDEN, members)
        nn.init.constant_(last.bias, FIRST_LOG_VARIANCE)
        self.noise = nn.Sequential(nn.Linear(latent, NOISE_HIDDEN), nn.SiLU(), last)
        # set from the training data; in double precision, so that weights in half precision leave them alone
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("offset", torch.zeros((), dtype=torch.float64))
        self.register_buffer("reference", torch.zeros(config.most_element + 1, dtype=torch.float64))

    def log_variance(self, x: Tensor) -> Tensor:
        """(rows, latent) to (rows, members), within what exponentials take."""
        return torch.clamp(self.noise(x.detach()), -16.0, 6.0)


class IntensiveHead(Head):
    """A property of the whole that does not grow with it, such as an orbital energy.

    With a base, what is learned is what is left of it after a fit of GFN2-xTB's HOMO and LUMO.
    """

    electronic_base: Tensor  # (6,) coefficients of ``electronic_inputs.terms``; only with a base

    def __init__(self, config: Config, base: str = "none") -> None:
        super().__init__(config)
        self.base = base
        if base != "none":
            self.register_buffer("electronic_base", torch.zeros(electronic_inputs.TERMS, dtype=torch.float64))

    def forward(self, features: Features) -> Members:
        """Predictions per molecule."""
        mean = self.readout(features.molecules) * self.scale + self.offset
        if self.base != "none":
            terms = electronic_inputs.terms(electronic_inputs.of(features.graph), quadratic=self.base == "quadratic")
            mean = mean + (terms @ self.electronic_base.to(terms)).unsqueeze(-1)
        return Members(mean, self.log_variance(features.molecules))


class ExtensiveHead(Head):
    """A sum over atoms, such as an energy: two molecules far apart have the sum of theirs."""

    def forward(self, features: Features) -> Members:
        """Predictions per molecule."""
        graph = features.graph
        atoms = self.readout(features.atoms) * self.scale + self.reference[graph.numbers].unsqueeze(-1)
        return Members(per_molecule(atoms, graph), self.log_variance(features.molecules))


class ChargeHead(Head):
    """Charges of atoms that add up to the molecule's, which is zero: the excess is shared out evenly."""

    def forward(self, features: Features) -> Members:
        """Predictions per atom."""
        graph = features.graph
        raw = self.readout(features.atoms) * self.scale + self.reference[graph.numbers].unsqueeze(-1)
        return Members(neutral(raw, graph), self.log_variance(features.atoms))


class DipoleHead(Head):
    """Dipole moment out of neutral atomic charges and atomic dipoles (PaiNN, equation 14); labels are magnitudes."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        members = config.ensemble.members
        self.local = nn.Linear(config.trunk.vector_features, members, bias=False)
        self.gate = nn.Linear(config.trunk.latent, members)

    def forward(self, features: Features) -> Members:
        """Magnitudes per molecule, debye, and the mean vector."""
        graph = features.graph
        charge = neutral(self.readout(features.atoms), graph)  # (atoms, members)
        share = graph.coordinates.double() / graph.sizes[graph.molecule].unsqueeze(-1)
        arm = graph.coordinates.double() - per_molecule(share, graph)[graph.molecule]
        local = (self.local(features.vectors) * self.gate(features.atoms).unsqueeze(1)).double()
        moment = charge.unsqueeze(1) * arm.unsqueeze(-1) + local  # (atoms, 3, members), e angstrom
        vector = per_molecule(moment, graph) / DEBYE_TO_E_ANGSTROM
        # the square root has no gradient at zero, where symmetric molecules are
        return Members((vector.square().sum(1) + 1e-12).sqrt(), self.log_variance(features.molecules), vector.mean(-1))


def neutral(charges: Tensor, graph: Graph) -> Tensor:
    """Charges (atoms, members) less their mean over the molecule."""
    mean = per_molecule(charges, graph) / graph.sizes.unsqueeze(-1)
    return charges - mean[graph.molecule]


def make(name: str, config: Config) -> Head:
    """The head of a quantity that is not derived from others."""
    form = quantity(name).form
    if form == "intensive":
        return IntensiveHead(config, config.heads[name].base)
    kinds: dict[str, type[Head]] = {"extensive": ExtensiveHead, "charge": ChargeHead, "dipole": DipoleHead}
    return kinds[form](config)
