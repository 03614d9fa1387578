"""The saved state of a run, from which it goes on as if it had never stopped."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gapsmith.core.errors import CheckpointError
from gapsmith.training.checkpoint import load_tensors, save_tensors
from gapsmith.training.files import sha256, write_atomically


@dataclass
class TrainingState:
    """Where a run is; with the tensors beside it, all that resuming needs."""

    step: int = 0
    elapsed_s: float = 0.0
    skipped: int = 0  # steps whose loss or gradient was not finite
    halvings: float = 0.0  # of the learning rate, on account of those
    losses: dict[str, float] = field(default_factory=dict)  # running means


def saved(directory: Path) -> bool:
    """Whether a run was saved there."""
    return (directory / "state.json").is_file()


def save(
    directory: Path,
    model: nn.Module,
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
) -> None:
    """Save a run; a crash in the middle leaves the save before it."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in average.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in slots.items()}
    name = f"state-{state.step}.safetensors"
    save_tensors(directory / name, tensors)
    record = {**asdict(state), "tensors": name, "sha256": sha256(directory / name)}
    write_atomically(directory / "state.json", json.dumps(record).encode())
    for old in directory.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def load(
    directory: Path, model: nn.Module, average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Load a saved run into the model, its average and its optimizer, in place.

    Raises:
        CheckpointError: the run is damaged, or of another model.
    """
    state, tensors = _read(directory)
    try:
        model.load_state_dict(_part(tensors, "model."))
        own = _part(tensors, "ema.")
        with torch.no_grad():
            for name, tensor in average.items():
                tensor.copy_(own[name])
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer.").items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(f"the run saved in {directory} is of another model; choose another folder") from error
    return state


def load_average(directory: Path, model: nn.Module) -> TrainingState:
    """Load the averaged weights of a saved run into the model; raises CheckpointError as ``load`` does."""
    state, tensors = _read(directory)
    try:
        model.load_state_dict(_part(tensors, "ema."))
    except RuntimeError as error:
        raise CheckpointError(f"the run saved in {directory} is of another model; choose another folder") from error
    return state


def _read(directory: Path) -> tuple[TrainingState, dict[str, Tensor]]:
    try:
        record: dict[str, Any] = json.loads((directory / "state.json").read_text())
        path, digest = directory / record.pop("tensors"), record.pop("sha256")
        state = TrainingState(**record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{directory / 'state.json'} is damaged ({error!r}); choose another folder") from error
    tensors = load_tensors(path)
    if sha256(path) != digest:
        raise CheckpointError(f"{path} does not match its SHA-256: it is damaged; choose another folder")
    return state, tensors


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
