"""The few collective operations that data-parallel training needs, behind one small interface."""

from typing import Protocol

import torch
from torch import Tensor, nn


class Communicator(Protocol):
    """A group of processes that train one model."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, in place."""
        ...

    def broadcast_parameters(self, model: nn.Module) -> None:
        """Give every rank rank 0's parameters and buffers."""
        ...

    def max(self, value: float) -> float:
        """The largest of the ranks' values: how all ranks agree on when the time is up."""
        ...

    def gather(self, value: Tensor) -> list[Tensor]:
        """The ranks' tensors of equal shape, in order of rank."""
        ...


class SingleProcess:
    """A group of one."""

    rank = 0
    size = 1

    def average_gradients(self, model: nn.Module) -> None:
        """Nothing to average."""

    def broadcast_parameters(self, model: nn.Module) -> None:
        """Nobody to send to."""

    def max(self, value: float) -> float:
        """The value itself."""
        return value

    def gather(self, value: Tensor) -> list[Tensor]:
        """A list of one."""
        return [value]


def parameter_fingerprint(model: nn.Module) -> Tensor:
    """Two moments of all parameters, (2,) float64: equal on all ranks if the parameters are."""
    flat = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    ramp = torch.arange(1, flat.numel() + 1, dtype=torch.float64, device=flat.device) / flat.numel()
    return torch.stack([flat.sum(), (flat * ramp).sum()]).cpu()
