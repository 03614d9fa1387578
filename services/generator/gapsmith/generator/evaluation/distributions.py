"""Bond lengths, bond angles, rings, elements and sizes of molecules, and how far two sets of them are apart."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
from rdkit import Chem
from scipy.stats import wasserstein_distance

SYMBOLS = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}
LARGEST_RING = 9  # larger ones are counted with these


@dataclass(frozen=True)
class Distances:
    """How far two sets of molecules are apart; 0 if they are alike.

    A Wasserstein distance is taken for each kind of bond or angle that both sets have, and averaged with the kinds'
    shares in the reference. A total variation is half the summed difference of shares, 1 if nothing is in common.
    """

    bond_length_angstrom: float | None  # Wasserstein; kind: both elements and the order, aromatic ones apart
    bond_angle_degree: float | None  # Wasserstein; kind: the middle atom's element and number of neighbours
    bond_kind: float  # total variation of the kinds of bonds
    ring_size: float  # total variation of the sizes of the rings, smallest set of smallest rings
    element: float  # total variation of the elements of all atoms
    size: float  # total variation of the number of atoms of a molecule, hydrogens included


@dataclass(frozen=True)
class Distributions:
    """What there is in a set of molecules."""

    lengths_angstrom: Mapping[str, np.ndarray]  # by kind of bond, such as C:C, (bonds,) float32
    angles_degree: Mapping[str, np.ndarray]  # by kind of atom in the middle, such as C4, (angles,) float32
    rings: Mapping[int, int]  # size: how many
    elements: Mapping[int, int]  # atomic number: how many
    sizes: Mapping[int, int]  # number of atoms: how many molecules

    @classmethod
    def of(cls, mols: Iterable[Chem.Mol]) -> "Distributions":
        """Of sanitised molecules with explicit hydrogens and one conformer."""
        lengths: dict[str, list[float]] = {}
        angles: dict[str, list[float]] = {}
        rings, elements, sizes = Counter[int](), Counter[int](), Counter[int]()
        for mol in mols:
            position = np.asarray(mol.GetConformer().GetPositions())
            for bond in mol.GetBonds():
                ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
                left, right = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
                kind = f"{left}{SYMBOLS[bond.GetBondTypeAsDouble()]}{right}"
                lengths.setdefault(kind, []).append(float(np.linalg.norm(position[ends[0]] - position[ends[1]])))
            for atom in mol.GetAtoms():
                around = position[[near.GetIdx() for near in atom.GetNeighbors()]] - position[atom.GetIdx()]
                if len(around) > 1:
                    angles.setdefault(f"{atom.GetSymbol()}{len(around)}", []).extend(_angles_degree(around))
                elements[atom.GetAtomicNum()] += 1
            rings.update(min(len(ring), LARGEST_RING) for ring in mol.GetRingInfo().AtomRings())
            sizes[mol.GetNumAtoms()] += 1
        return cls(_arrays(lengths), _arrays(angles), dict(rings), dict(elements), dict(sizes))

    def distances(self, reference: "Distributions") -> Distances:
        """How far these molecules are from those of a reference."""
        ours, theirs = (
            {kind: len(values) for kind, values in one.lengths_angstrom.items()} for one in (self, reference)
        )
        return Distances(
            bond_length_angstrom=_wasserstein(self.lengths_angstrom, reference.lengths_angstrom),
            bond_angle_degree=_wasserstein(self.angles_degree, reference.angles_degree),
            bond_kind=total_variation(ours, theirs),
            ring_size=total_variation(self.rings, reference.rings),
            element=total_variation(self.elements, reference.elements),
            size=total_variation(self.sizes, reference.sizes),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """As named arrays, for a file."""
        out = {}
        for field in fields(self):
            for key, value in getattr(self, field.name).items():
                out[f"{field.name}/{key}"] = np.asarray(value)
        return out

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> "Distributions":
        """Back from named arrays."""
        parts: dict[str, dict[str, np.ndarray]] = {field.name: {} for field in fields(cls)}
        for name, value in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = value
        counts = (
            {int(key): int(value) for key, value in parts[name].items()} for name in ("rings", "elements", "sizes")
        )
        return cls(parts["lengths_angstrom"], parts["angles_degree"], *counts)


def total_variation(one: Mapping[Any, int], other: Mapping[Any, int]) -> float:
    """Half the summed absolute difference of two distributions, 0 to 1; of two empty ones 0, of one 1."""
    left, right = sum(one.values()), sum(other.values())
    if not left or not right:
        return float(left != right)
    difference: float = sum(abs(one.get(key, 0) / left - other.get(key, 0) / right) for key in {*one, *other})
    return round(difference / 2, 4)


def _wasserstein(ours: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float | None:
    """Mean over the kinds that both have, weighted by the reference; None if there is no such kind."""
    common = sorted(ours.keys() & reference.keys())
    if not common:
        return None
    each = [float(wasserstein_distance(ours[kind], reference[kind])) for kind in common]
    return round(float(np.average(each, weights=[len(reference[kind]) for kind in common])), 5)


def _angles_degree(around: np.ndarray) -> list[float]:
    """Angles between all pairs of bonds of an atom, (neighbours, 3) in."""
    unit = around / np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-9)
    cosines = [float(unit[i] @ unit[j]) for i, j in combinations(range(len(unit)), 2)]
    return [float(angle) for angle in np.degrees(np.arccos(np.clip(cosines, -1, 1)))]


def _arrays(lists: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    return {kind: np.array(values, dtype=np.float32) for kind, values in sorted(lists.items())}
