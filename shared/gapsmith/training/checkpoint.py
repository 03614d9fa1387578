"""Checkpoints: safetensors beside a JSON card that holds their SHA-256. Nothing is ever unpickled."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gapsmith.core.errors import CheckpointError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.training.card import FORMAT, read_card
from gapsmith.training.files import card_path, replacing, sha256, write_atomically

__all__ = [
    "card_path",
    "load_tensors",
    "load_weights",
    "read_card",
    "save_model",
    "save_tensors",
    "sha256",
    "write_atomically",
    "write_card",
]


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically; raises CheckpointError if the disk does not take them."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with replacing(path) as partial:
            save_file(whole, str(partial))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written ({error}): is the disk full?") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors; raises CheckpointError if the file is missing, cut off or not safetensors."""
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as tensors ({error}): fetch or train it again") from error


def save_model(
    weights: Path,
    model: nn.Module,
    *,
    role: str,
    architecture: str,
    domain: ModelDomain,
    config: Mapping[str, Any],
    card: Mapping[str, Any],
    half: bool = False,
) -> dict[str, Any]:
    """Write weights and card; ``half`` stores floating-point weights in half precision.

    Returns:
        The whole card: the fields that every card has (``card.REQUIRED``) and what the caller gave.
    """
    state = model.state_dict()
    if half:
        state = {name: t.half() if t.dtype == torch.float32 else t for name, t in state.items()}
    save_tensors(weights, state)
    identity = {"format": FORMAT, "role": role, "architecture": architecture, "domain": domain.as_dict()}
    whole = {**card, **identity, "config": dict(config), "sha256": sha256(weights)}
    write_card(weights, whole)
    return whole


def write_card(weights: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a weights file, atomically."""
    write_atomically(card_path(weights), json.dumps(_finite(card), indent=2, sort_keys=True).encode())


def _finite(value: Any) -> Any:
    """What JSON can hold: None where a number is not finite."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_weights(model: nn.Module, weights: Path) -> None:
    """Load weights whose card was read; half precision becomes the model's own; raises CheckpointError."""
    fill(model, load_tensors(weights), weights)


def fill(model: nn.Module, state: Mapping[str, torch.Tensor], weights: Path) -> None:
    """Give a model these weights, which come from a file; raises CheckpointError if they do not fit."""
    own = model.state_dict()
    if state.keys() != own.keys():
        raise CheckpointError(f"{weights} does not fit the model: {sorted(state.keys() ^ own.keys())[:5]} differ")
    if wrong := [name for name in own if state[name].shape != own[name].shape]:
        raise CheckpointError(f"{weights} does not fit the model: {wrong[:5]} have other shapes")
    learned = {name for name, _ in model.named_parameters()}  # a buffer may hold an infinite threshold
    for name in own:
        if state[name].isnan().any() or (name in learned and not state[name].isfinite().all()):
            raise CheckpointError(f"{weights}: {name} holds values that are not finite: fetch or train it again")
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})
