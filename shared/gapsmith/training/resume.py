"""A run: all of a training that changes. It is kept in memory, on disk, or sent to other ranks, and goes on exactly."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from gapsmith.core.errors import CheckpointError
from gapsmith.training.averages import WeightAverage
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

    def copy(self) -> "TrainingState":
        """The same, of its own."""
        return replace(self, losses=dict(self.losses))


def saved(directory: Path) -> bool:
    """Whether a run was saved there."""
    return (directory / "state.json").is_file()


class Run:
    """Weights, their moving average, the optimizer's state, and where the training is."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.average, self.state = WeightAverage(model), TrainingState()
        self.commit()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as they are: what trains on changes them."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        found |= {f"ema.{name}": tensor for name, tensor in self.average.tensors.items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in slots.items()}
        return found

    def put(self, tensors: Mapping[str, Tensor], state: TrainingState) -> None:
        """Become another run of the same model; raises CheckpointError if it is of another one."""
        try:
            self.model.load_state_dict(_part(tensors, "model."))
            own = _part(tensors, "ema.")
            with torch.no_grad():
                for name, tensor in self.average.tensors.items():
                    tensor.copy_(own[name])
            slots: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _part(tensors, "optimizer.").items():
                index, slot = name.split(".", 1)
                slots.setdefault(int(index), {})[slot] = tensor.clone()
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError("the run is of another model") from error
        self.state = state.copy()

    def commit(self) -> None:
        """Keep all of it in memory, to come back to."""
        self._committed = {name: tensor.detach().clone() for name, tensor in self.tensors().items()}, self.state.copy()

    def restore(self) -> None:
        """Go back to the last commit."""
        self.put(*self._committed)

    def pack(self) -> bytes:
        """All of it as bytes, in safetensors' format."""
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.tensors().items()}
        state = torch.tensor(list(json.dumps(asdict(self.state)).encode()), dtype=torch.uint8)
        return save({**whole, "state": state})

    def unpack(self, data: bytes) -> None:
        """Become the packed run; raises CheckpointError if it is damaged or of another model."""
        try:
            tensors = load(data)
            state = TrainingState(**json.loads(bytes(tensors.pop("state").tolist())))
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"another rank sent what is no run ({error!r})") from error
        self.put(tensors, state)

    def save(self, directory: Path) -> None:
        """Write it to disk; a crash in the middle leaves the save before it; raises CheckpointError if the disk is full."""
        name = f"state-{self.state.step}.safetensors"
        save_tensors(directory / name, self.tensors())
        record = {**asdict(self.state), "tensors": name, "sha256": sha256(directory / name)}
        try:
            write_atomically(directory / "state.json", json.dumps(record).encode())
        except OSError as error:
            raise CheckpointError(
                f"{directory / 'state.json'} cannot be written ({error}): is the disk full?"
            ) from error
        for old in directory.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink()

    def load(self, directory: Path) -> None:
        """Become the run saved there; raises CheckpointError if it is damaged, or of another model."""
        try:
            record: dict[str, Any] = json.loads((directory / "state.json").read_text())
            path, digest = directory / record.pop("tensors"), record.pop("sha256")
            state = TrainingState(**record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{directory / 'state.json'} is damaged ({error!r}); choose another folder"
            ) from error
        tensors = load_tensors(path)
        if sha256(path) != digest:
            raise CheckpointError(f"{path} does not match its SHA-256: it is damaged; choose another folder")
        try:
            self.put(tensors, state)
        except CheckpointError as error:
            raise CheckpointError(f"the run saved in {directory} is of another model; choose another folder") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
