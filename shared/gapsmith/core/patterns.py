"""Patterns (SMARTS) and SMILES that people write: what may be given to RDKit at all. Reads without RDKit."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

MOST_CHARACTERS: Final = 400
DEEPEST: Final = 30  # brackets within brackets: the parser calls itself for each
MOST_ATOMS: Final = 60  # of a pattern; see ``chemistry.substructure.compile_smarts``
MOST_COMPONENTS: Final = 3  # of a pattern: each is tried with every atom of a molecule, independently of the others
SHOWN: Final = 80  # characters of a pattern in a message


def shown(text: str) -> str:
    """A pattern as messages quote it."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def fault(text: str) -> str | None:
    """Why a text is too long or too deep for a parser, or None."""
    if len(text) > MOST_CHARACTERS:
        return f"it has {len(text)} characters; at most {MOST_CHARACTERS} are possible"
    if not (text.isprintable() and text.isascii()):
        return "it has a character that no SMILES or SMARTS has"
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([") - (sign in ")]")
        deepest = max(deepest, depth)
    return f"it has more than {DEEPEST} brackets within brackets" if deepest > DEEPEST else None


def smarts_fault(text: str) -> str | None:
    """Why a pattern is too large to be compared with molecules, as far as its text shows, or None."""
    if reason := fault(text):
        return reason
    if (components := text.count(".") + 1) > MOST_COMPONENTS:
        return f"it has {components} components, separated by dots; at most {MOST_COMPONENTS} are possible"
    return None


def _smiles(text: str) -> str:
    if reason := fault(text):
        raise ValueError(reason)
    return text


def _smarts(text: str) -> str:
    if reason := smarts_fault(text):
        raise ValueError(f"{shown(text)} is not possible as a pattern: {reason}")
    return text


Smiles = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(_smiles)]
Smarts = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(_smarts)]
