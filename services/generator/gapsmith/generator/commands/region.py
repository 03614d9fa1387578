"""Which part of a lead may change: by patterns, by atom numbers, or a random patch of what is free."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gapsmith.core.chemistry.screening import check_pattern, matching_atoms
from gapsmith.core.errors import InputError
from gapsmith.generator.commands.leads import Lead
from gapsmith.generator.molecule import order_matrix

DEFAULT_FRACTION: Final = 0.3


@dataclass(frozen=True)
class Region:
    """What a person said about it."""

    keep: str | None = None  # SMARTS: atoms that stay
    mask: str | None = None  # SMARTS: atoms that are drawn again
    atoms: tuple[int, ...] = ()  # numbers of such atoms in the lead's file, from 1
    fraction: float | None = None  # share of the heavy atoms: a patch of that size is drawn again, of what is free

    def check(self) -> None:
        """Raise InputError if this makes no sense for any lead."""
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise InputError(
                f"--mask-fraction is {self.fraction:g}; it is a share of the atoms above 0 (at 0 the lead itself would "
                "come back) and up to 1 (nothing is kept)"
            )
        if self.fraction is not None and (self.mask is not None or self.atoms):
            raise InputError("--mask-fraction draws a part by chance, --mask and --mask-atoms name one; give either")
        for field, smarts in (("--keep", self.keep), ("--mask", self.mask)):
            if smarts is not None:
                check_pattern(smarts, field)

    def free(self, lead: Lead) -> np.ndarray:
        """Which heavy atoms of a lead may change, (heavy atoms,) bool.

        Raises:
            InputError: a pattern matches nothing, an atom number is wrong, an atom is to be kept and drawn again, or none
                is left to draw.
        """
        masked = self._matched("--mask", self.mask, lead) | self._numbered(lead)
        kept = self._matched("--keep", self.keep, lead)
        if (kept & masked).any():
            both = ", ".join(str(atom + 1) for atom in lead.heavy[kept & masked])
            raise InputError(
                f"--keep {self.keep!r} and the mask both name atom {both} of {lead.where}: an atom is kept or drawn "
                "again, not both"
            )
        free = masked if masked.any() else ~kept
        if not free.any():
            raise InputError(
                f"--keep {self.keep!r} keeps all of {lead.where} and leaves nothing to draw; keep a smaller part"
            )
        return free

    @property
    def share(self) -> float:
        """Share of the heavy atoms that are drawn again in one attempt; at most all that are free."""
        if self.fraction is not None:
            return self.fraction
        return 1.0 if self.keep or self.mask or self.atoms else DEFAULT_FRACTION

    def _matched(self, field: str, smarts: str | None, lead: Lead) -> np.ndarray:
        if smarts is None:
            return np.zeros(len(lead.heavy), dtype=bool)
        found = matching_atoms(lead.mol, smarts, field)
        if not found:
            raise InputError(f"{field}: {smarts!r} matches no heavy atom of {lead.where} ({lead.identity.smiles})")
        return np.isin(lead.heavy, found)

    def _numbered(self, lead: Lead) -> np.ndarray:
        """Atoms by their numbers; hydrogens follow the atom that carries them."""
        total = len(lead.molecule)
        if wrong := [number for number in self.atoms if not 1 <= number <= total]:
            raise InputError(f"--mask-atoms: {lead.where} has atoms 1 to {total}, but no {wrong[0]}")
        named = np.array(self.atoms, dtype=np.int64) - 1
        for atom in named[lead.molecule.numbers[named] == 1].tolist():
            carrier = int(np.flatnonzero(order_matrix(lead.molecule)[atom])[0])
            if carrier not in named:
                raise InputError(
                    f"--mask-atoms: atom {atom + 1} of {lead.where} is a hydrogen; name the atom that carries it, "
                    f"{carrier + 1}: hydrogens follow"
                )
        return np.isin(lead.heavy, named)
