"""Molecules that are held out: no pool may contain them, so that no model is ever trained on them."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).with_name("excluded.txt")
DIGITS: Final = 24


def is_excluded(inchikey: str) -> bool:
    """Whether a molecule, or a stereoisomer of it, is on the list."""
    return _digest(inchikey) in _digests()


def _digest(inchikey: str) -> str:
    return hashlib.sha256(inchikey.partition("-")[0].encode()).hexdigest()[:DIGITS]


@cache
def _digests() -> frozenset[str]:
    lines = (line.strip() for line in LIST.read_text().splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))
