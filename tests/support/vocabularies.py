"""The vocabulary of the shipped generator, for tests."""

from typing import Final

from gapsmith.generator.network import default_config
from gapsmith.generator.vocabulary import Vocabulary

VOCABULARY: Final = Vocabulary.of(default_config())
GHOST_ATOM: Final = VOCABULARY.ghost_atom
MASK_ATOM: Final = VOCABULARY.mask_atom
MASK_CHARGE: Final = VOCABULARY.mask_charge
