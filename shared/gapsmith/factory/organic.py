"""The pool ``organic``: our own enumeration of molecules of organic electronics, stratified by size and element."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.metadata import version
from typing import Final

import numpy as np
from rdkit import Chem

from gapsmith.factory.assembly import BLOCKS, assemble
from gapsmith.factory.exchange import exchanged
from gapsmith.factory.pools import Draft, drafts

CHUNK: Final = 16  # molecules
EXCHANGED: Final = 0.25  # share of QM9's molecules with elements exchanged, 5 to 12 heavy atoms
SIZES: Final[Mapping[tuple[int, int], float]] = {(5, 9): 0.1, (10, 14): 0.46, (15, 19): 0.31, (20, 24): 0.13}
ELEMENTS: Final[Mapping[str | None, float]] = {  # one that must be there; None: whatever comes
    "S": 0.22, "Cl": 0.1, "Br": 0.08, "Si": 0.1, "P": 0.1, "B": 0.1, "F": 0.08, None: 0.22,
}  # fmt: skip


class OrganicPool:
    """Each molecule has a size and an element of its own, drawn by these shares; the pool does not end."""

    novel = True

    def chunk(self, number: int, seed: int) -> Iterable[Draft]:
        """Enumerate some molecules."""
        random = np.random.default_rng([seed, number])
        return drafts(_drawn(random) for _ in range(CHUNK))

    def provenance(self) -> Mapping[str, str]:
        """The building blocks and what puts them together."""
        return {
            "blocks_sha256": sha256(BLOCKS.read_bytes()).hexdigest(),
            **{name: version(name) for name in ("gapsmith", "rdkit", "qm9pack")},
        }


def _drawn(random: np.random.Generator) -> Chem.Mol | None:
    sizes, elements = list(SIZES), list(ELEMENTS)
    if random.random() < EXCHANGED:
        mol = exchanged(random)
    else:
        wanted = sizes[int(random.choice(len(sizes), p=list(SIZES.values())))]
        element = elements[int(random.choice(len(elements), p=list(ELEMENTS.values())))]
        mol = assemble(random, wanted, element)
    return mol if mol is not None and 5 <= mol.GetNumHeavyAtoms() <= 24 else None
