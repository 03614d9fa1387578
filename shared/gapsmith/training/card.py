"""The card of a model: JSON beside its weights, with their SHA-256. Reads without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gapsmith.core import documents
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.training.files import card_path, sha256

FORMAT: Final = 1
WHAT: Final = "a model is a .safetensors file with a .json card beside it"
REQUIRED: Final = ("format", "role", "architecture", "domain", "config", "sha256")


def read_card(weights: Path, *, role: str | None = None) -> dict[str, Any]:
    """The card of a weights file, after checking its fields, role, format and SHA-256.

    Args:
        weights: the .safetensors file, with its card beside it.
        role: that the model must have, e.g. surrogate; any if None.

    Raises:
        CheckpointError: a file is missing or damaged, or the card lacks a field or names another role.
    """
    card = card_alone(weights)
    if role is not None and card["role"] != role:
        raise CheckpointError(f"{weights} holds a model with the role {documents.shown(card['role'])}, wanted {role!r}")
    digest = sha256(weights)
    if card["sha256"] != digest:
        raise CheckpointError(
            f"{weights} does not match its card (SHA-256 {digest}, card says {documents.shown(card['sha256'])}): "
            "it is damaged or half-written; fetch or train it again"
        )
    return card


def card_alone(weights: Path) -> dict[str, Any]:
    """The card of a weights file without reading the weights; raises CheckpointError if it is missing or incomplete."""
    if weights.is_dir():
        raise CheckpointError(f"{weights} is a folder: {WHAT}")
    for path in (weights, card_path(weights)):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: {WHAT}")
    path = card_path(weights)
    try:
        card = documents.read(path)
    except InputError as error:
        raise CheckpointError(f"{error}: it is not the card of a model") from error
    if missing := [name for name in REQUIRED if name not in card]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}: every card has {', '.join(REQUIRED)}")
    if card["format"] != FORMAT:
        raise CheckpointError(f"{weights} has format {documents.shown(card['format'])}; this version reads {FORMAT}")
    domain_of(card, path)
    return card


def domain_of(card: Mapping[str, Any], path: Path) -> ModelDomain:
    """The domain that a card declares; raises CheckpointError naming the file."""
    try:
        return ModelDomain.of(card["domain"])
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error
