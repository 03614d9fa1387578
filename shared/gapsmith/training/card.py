"""The card of a model: JSON beside its weights, with their SHA-256. Reads without torch."""

import json
from pathlib import Path
from typing import Any

from gapsmith.core.errors import CheckpointError
from gapsmith.training.files import card_path, sha256

FORMAT = 1


def read_card(weights: Path, *, kind: str) -> dict[str, Any]:
    """The card of a weights file, after checking kind, format and SHA-256; raises CheckpointError."""
    for path in (weights, card_path(weights)):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: a model is a .safetensors file with a .json card beside it")
    try:
        card: dict[str, Any] = json.loads(card_path(weights).read_text())
    except ValueError as error:
        raise CheckpointError(f"{card_path(weights)} is not JSON: {error}") from error
    if not isinstance(card, dict):
        raise CheckpointError(f"{card_path(weights)} holds no JSON object: it is no card of a model")
    if card.get("kind") != kind:
        raise CheckpointError(f"{weights} holds a model of kind {card.get('kind')!r}, wanted {kind!r}")
    if card.get("format") != FORMAT:
        raise CheckpointError(f"{weights} has format {card.get('format')!r}; this version reads {FORMAT}")
    digest = sha256(weights)
    if card.get("sha256") != digest:
        raise CheckpointError(
            f"{weights} does not match its card (SHA-256 {digest}, card says {card.get('sha256')}): "
            "it is damaged or half-written; fetch or train it again"
        )
    return card
