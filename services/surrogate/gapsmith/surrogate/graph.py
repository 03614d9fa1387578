"""Molecules as the network sees them: atoms concatenated, as PyTorch Geometric keeps them, and every pair of atoms."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Electronic:
    """GFN2-xTB's electronic structure of the molecules of a batch."""

    levels: Tensor  # (molecules, 6) eV, energies of HOMO-2 to LUMO+2; NaN where there is no such orbital
    atoms: Tensor  # (atoms, 3): charge in e, Mulliken populations of HOMO and LUMO
    orders: Tensor  # (pairs,) Wiberg bond orders, of the pairs of the graph


@dataclass(frozen=True)
class Graph:
    """A batch of molecules. Pairs are in order of their first atom; what is beyond the cutoff is faded out later."""

    numbers: Tensor  # (atoms,) int64, atomic numbers
    coordinates: Tensor  # (atoms, 3), angstrom
    molecule: Tensor  # (atoms,) int64, ascending: which molecule an atom belongs to
    sizes: Tensor  # (molecules,) int64, atoms of a molecule
    first: Tensor  # (pairs,) int64, atom that receives
    second: Tensor  # (pairs,) int64, atom of the same molecule that sends
    largest: int  # atoms of the largest molecule
    electronic: Electronic | None = None  # for networks that see it

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.sizes)


def graph(numbers: Tensor, coordinates: Tensor, sizes: np.ndarray) -> Graph:
    """Pairs of all atoms, made on the device of the atoms without waiting for it.

    Args:
        numbers: (atoms,) int64, atomic numbers.
        coordinates: (atoms, 3), angstrom.
        sizes: (molecules,) atoms of every molecule: on the host, which thereby knows the shapes of all tensors.
    """
    device = coordinates.device
    counts = torch.from_numpy(np.asarray(sizes, dtype=np.int64)).to(device, non_blocking=True)
    atoms, pairs = int(np.sum(sizes)), int(np.sum(np.asarray(sizes, dtype=np.int64) * (sizes - 1)))
    molecule = torch.repeat_interleave(torch.arange(len(sizes), device=device), counts, output_size=atoms)
    start = (torch.cumsum(counts, 0) - counts)[molecule]
    others = counts[molecule] - 1
    index = torch.arange(atoms, device=device)
    first = torch.repeat_interleave(index, others, output_size=pairs)
    place = torch.arange(pairs, device=device) - (torch.cumsum(others, 0) - others)[first]
    second = start[first] + place + (place >= (index - start)[first])  # over the atom itself
    return Graph(numbers, coordinates, molecule, counts, first, second, int(np.max(sizes, initial=0)))


def with_electronic(
    found: Graph, levels: Tensor, atoms: Tensor, pairs: Tensor, orders: Tensor, counts: Tensor, total: int
) -> Graph:
    """The same batch with GFN2-xTB's electronic structure.

    Args:
        found: pairs of all atoms, as ``graph`` makes them.
        levels: (molecules, 6), see ``Electronic``.
        atoms: (atoms, 3), likewise.
        pairs: (bonds, 2) int64, atoms of the molecule, one molecule's after the other's; each pair once.
        orders: (bonds,) of these pairs; the others have none.
        counts: (molecules,) int64, how many of these pairs a molecule has.
        total: their sum, on the host.
    """
    size = found.sizes
    molecule = torch.repeat_interleave(torch.arange(len(size), device=size.device), counts, output_size=total)
    per_molecule = size * (size - 1)
    start, others = (torch.cumsum(per_molecule, 0) - per_molecule)[molecule], (size - 1)[molecule]
    first, second = pairs[:, 0], pairs[:, 1]
    whole = orders.new_zeros(len(found.first))
    for a, b in ((first, second), (second, first)):
        whole = whole.index_copy(0, start + a * others + b - (b > a).long(), orders)
    return replace(found, electronic=Electronic(levels, atoms, whole))
