"""Pools: where molecules come from. A plug-in of the group ``gapsmith.pools`` under its name.

A pool is divided into chunks, each a pure function of the seed and the chunk's number, so that the work can be stopped after
any chunk, taken up again, and done by several processes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Final, Protocol

from rdkit import Chem

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule

GROUP: Final = "gapsmith.pools"


@dataclass(frozen=True)
class Draft:
    """A molecule with a geometry that is yet to be relaxed."""

    molecule: Molecule  # with bonds
    wanted_gap_ev: float = float("nan")  # what a generator was asked for


def drafts(molecules: Iterable[Chem.Mol | None]) -> Iterator[Draft]:
    """Molecules with their first geometries; without those that are None or cannot be embedded."""
    for mol in molecules:
        if mol is None:
            continue
        try:
            yield Draft(from_rdkit(embed(mol)))
        except InvalidMolecule:
            continue


class Pool(Protocol):
    """A source of molecules."""

    novel: bool  # molecules of QM9 are left out

    def chunk(self, number: int, seed: int) -> Iterable[Draft] | None:
        """Molecules of one chunk, counted from 0; None if the pool has no such chunk."""
        ...

    def provenance(self) -> Mapping[str, str]:
        """Versions and hashes that decide which molecules come out."""
        ...


@cache
def find(name: str) -> Pool:
    """The pool of that name, or ``NAME:ARGUMENT``, made once per process; raises InputError that lists the known ones."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    kind, _, argument = name.partition(":")
    if kind not in points:
        raise InputError(f"no pool is called {kind!r}; there is: {', '.join(sorted(points))}")
    pool: Pool = points[kind].load()(*([argument] if argument or kind == "table" else []))
    return pool
