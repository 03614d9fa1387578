"""How a network sees GFN2-xTB's electronic structure: what atoms, pairs and molecules get beside the geometry.

All of it enters through weights that begin at zero, so that training can begin from a network that sees the geometry alone
(``--start``) and whose predictions the first step finds unchanged. What is fed, and that DFT is best predicted as GFN2 plus a
correction: OrbNet-Equi (Qiao et al., PNAS 2022).
"""

from typing import Final

import torch
from torch import Tensor, nn

from gapsmith.core.errors import InputError
from gapsmith.surrogate.graph import Electronic, Graph

BOND_FUNCTIONS: Final = 3  # of a bond order
LEVELS_EV: Final = (-11.9, -11.5, -10.6, -5.7, -3.0, -1.1)  # HOMO-2 to LUMO+2, about their means over QM9
SPREAD_EV: Final = (0.8, 0.8, 0.9, 2.8, 2.9, 2.5)  # likewise
TERMS: Final = 6  # of a quadratic in HOMO and LUMO


def of(graph: Graph) -> Electronic:
    """A batch's electronic structure; raises InputError if it was left out."""
    if graph.electronic is None:
        raise InputError("these weights need GFN2-xTB's electronic structure of every molecule, and it was not given")
    return graph.electronic


class ElectronicInputs(nn.Module):
    """Additions to the features of atoms, pairs and molecules."""

    centres: Tensor  # (6,)
    spreads: Tensor  # (6,)

    def __init__(self, features: int, latent: int, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("centres", torch.tensor(LEVELS_EV), persistent=False)
        self.register_buffer("spreads", torch.tensor(SPREAD_EV), persistent=False)
        self.atoms, self.molecules = _entry(3 + len(LEVELS_EV), features), _entry(len(LEVELS_EV), latent)

    def levels(self, given: Electronic) -> Tensor:
        """(molecules, 6) without unit; an orbital that is not there is as the mean."""
        return torch.nan_to_num((given.levels - self.centres) / self.spreads)

    def forward(self, given: Electronic, graph: Graph) -> tuple[Tensor, Tensor]:
        """For atoms (atoms, features) and for molecules (molecules, latent)."""
        levels = self.levels(given)
        atoms = self.atoms(torch.cat([given.atoms, levels.index_select(0, graph.molecule)], dim=-1))
        return atoms, self.molecules(levels)

    def bonds(self, orders: Tensor, distance: Tensor) -> Tensor:
        """Bond orders (pairs,) to functions (pairs, BOND_FUNCTIONS) that are zero from the cutoff on."""
        envelope = 0.5 * (torch.cos(distance.clamp(max=self.cutoff) * (torch.pi / self.cutoff)) + 1)
        return torch.stack([orders, orders.square() / 2, (orders + 1e-3).sqrt() - 1e-3**0.5], -1) * envelope.unsqueeze(
            -1
        )


def _entry(given: int, out: int) -> nn.Sequential:
    """Two layers, of which the last begins at zero."""
    last = nn.Linear(out, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(given, out), nn.SiLU(), last)


def terms(given: Electronic, *, quadratic: bool) -> Tensor:
    """(molecules, 6) float64: one, HOMO, LUMO and, if wanted, their squares and product, eV."""
    homo, lumo = given.levels[:, 2].double(), given.levels[:, 3].double()
    second = [homo.square(), homo * lumo, lumo.square()] if quadratic else [torch.zeros_like(homo)] * 3
    return torch.stack([torch.ones_like(homo), homo, lumo, *second], dim=-1)
