"""Tokens of atoms, formal charges and bonds. Which elements, charges, sizes and properties a network has, its weights say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from gapsmith.core.chemistry.elements import SYMBOLS, number_of
from gapsmith.core.errors import InputError

BOND_ORDERS: Final = (0, 1, 2, 3)  # bond tokens 0..3 are their own orders
MASK_BOND: Final = 4
BOND_TOKENS: Final = 5


@dataclass(frozen=True)
class Conditioned:
    """A property that molecules can be conditioned on."""

    name: str  # with unit, e.g. gap_ev
    mean: float  # over the training data
    deviation: float


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a network stand for. The order is that of its weights."""

    elements: tuple[int, ...]  # atomic numbers of the atom tokens, hydrogen's first; only heavy atoms are placed
    charges: tuple[int, ...]  # formal charges of the charge tokens
    most_atoms: int  # heavy atoms of a molecule
    properties: tuple[Conditioned, ...]  # the first is the one that training conditions on most often

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Vocabulary":
        """Out of a network's configuration; raises InputError."""
        elements = tuple(number_of(str(symbol)) for symbol in config["elements"])
        charges, most = tuple(int(charge) for charge in config["charges"]), int(config["most_atoms"])
        properties = tuple(Conditioned(**one) for one in config["properties"])
        if len(set(elements)) < len(elements) or not set(elements) - {1}:
            raise InputError(f"elements must be different and hold one besides hydrogen, got {config['elements']}")
        if 0 not in charges or most < 1:
            raise InputError(f"charges must include 0 and most_atoms be at least 1, got {charges} and {most}")
        return cls(elements, charges, most, properties)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the properties, with unit, in their order."""
        return tuple(one.name for one in self.properties)

    @property
    def heavy_elements(self) -> tuple[int, ...]:
        """Atomic numbers of what may be placed; hydrogens follow from valences."""
        return tuple(number for number in self.elements if number != 1)

    @property
    def ghost_atom(self) -> int:
        """The token of a place that stays empty, so that a part that is grown again may change its size."""
        return len(self.elements)

    @property
    def atom_kinds(self) -> int:
        """How many tokens an atom can turn out to be."""
        return len(self.elements) + 1

    @property
    def mask_atom(self) -> int:
        """The token of an atom of unknown element."""
        return len(self.elements) + 1

    @property
    def neutral(self) -> int:
        """The token of no formal charge."""
        return self.charges.index(0)

    @property
    def mask_charge(self) -> int:
        """The token of an unknown formal charge."""
        return len(self.charges)

    @cached_property
    def token_of_number(self) -> np.ndarray:
        """(256,) uint8: tokens by atomic number; a ghost's for what is unknown."""
        tokens = np.full(256, self.ghost_atom, dtype=np.uint8)
        tokens[list(self.elements)] = np.arange(len(self.elements))
        return tokens

    @cached_property
    def number_of_token(self) -> np.ndarray:
        """(atom_kinds,) uint8: atomic numbers by token, 0 for a ghost."""
        return np.array([*self.elements, 0], dtype=np.uint8)

    @cached_property
    def token_of_charge(self) -> np.ndarray:
        """(256,) uint8: tokens by formal charge modulo 256; that of an unknown charge for what is unknown."""
        tokens = np.full(256, self.mask_charge, dtype=np.uint8)
        tokens[np.array(self.charges) % 256] = np.arange(len(self.charges))
        return tokens

    def charge_tokens(self, charges: np.ndarray) -> np.ndarray:
        """Tokens of formal charges, of the same shape."""
        return np.asarray(self.token_of_charge[charges.astype(np.int64) % 256])

    def charges_of(self, tokens: np.ndarray) -> np.ndarray:
        """Formal charges of tokens, int8 of the same shape."""
        return np.asarray(np.array(self.charges, dtype=np.int8)[tokens])

    def check_elements(self, numbers: Sequence[int]) -> None:
        """Raise InputError unless all of these may be placed."""
        if not numbers or not set(numbers) <= set(self.heavy_elements):
            known = ", ".join(SYMBOLS[number] for number in self.heavy_elements)
            raise InputError(f"elements are {[SYMBOLS[n] for n in sorted(numbers)]}; the generator places {known}")
