"""QM9 as a source of training data."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Final

import numpy as np

from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.data import qm9
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import Label, Source

FREE_ATOMS_HARTREE: Final = {  # B3LYP/6-31G(2df,p), 0 K: table of free atoms published with QM9
    1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730,
}  # fmt: skip
PROPERTIES: Final = {  # quantity: property of ``qm9.QM9``
    "homo": "homo_ev", "lumo": "lumo_ev", "gap": "gap_ev", "dipole": "dipole_debye", "polarizability": "polarizability_bohr3",
}  # fmt: skip


class Qm9Source(Source):
    """At its own geometries; beside the usual splits, ``first`` and ``second`` of EDM's halves."""

    name, title, licence, rank = "qm9", "QM9", "CC0-1.0", 0
    origin = "Ramakrishnan et al., Sci. Data 1, 140022 (2014), by the package qm9pack"
    labels: Mapping[str, Label] = {
        "homo": Label("eV", qm9.LEVEL),
        "lumo": Label("eV", qm9.LEVEL),
        "gap": Label("eV", qm9.LEVEL, least=0.0),
        "dipole": Label("D", qm9.LEVEL, "dipole", least=0.0),
        "polarizability": Label("bohr^3", qm9.LEVEL, "extensive", least=0.0),
        "atomization_energy": Label("eV", qm9.LEVEL, "extensive"),
        "mulliken_charge": Label("e", qm9.LEVEL, "charge"),
    }

    def version(self) -> str:
        """Of the package."""
        return f"qm9pack {version('qm9pack')}"

    def load(self, split: str) -> Molecules:
        """A part; raises InputError if there is no such split, DataError if the package is missing."""
        return _part(split)


@lru_cache(maxsize=4)
def _part(split: str) -> Molecules:
    whole = _whole()
    parts = {**qm9.edm_halves(len(whole)), **qm9.split(len(whole))}
    if split not in parts:
        raise InputError(f"QM9 has no split {split!r}{hint(split, parts)}")
    return whole.take(parts[split])


@lru_cache(maxsize=1)
def _whole() -> Molecules:
    """All molecules; of the energies, those of the free atoms are taken off."""
    data = qm9.load()
    graph = {name: data.properties[column] for name, column in PROPERTIES.items()}
    node = {"mulliken_charge": data.mulliken_e.astype(np.float32)}
    molecules = Molecules(data.offsets, data.numbers, data.coordinates, graph, node)
    free = np.zeros(max(FREE_ATOMS_HARTREE) + 1)
    free[list(FREE_ATOMS_HARTREE)] = list(FREE_ATOMS_HARTREE.values())
    bound = data.properties["u0_hartree"] - molecules.composition(len(free) - 1) @ free
    graph["atomization_energy"] = bound * HARTREE_TO_EV
    return molecules
