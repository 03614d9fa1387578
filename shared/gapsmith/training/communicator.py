"""The few collective operations that data-parallel training needs, behind one small interface."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from gapsmith.training.resume import Run

T = TypeVar("T")


class Communicator(Protocol):
    """A group of processes that train one model. Ranks may be lost or added where the group is elastic."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    @property
    def generation(self) -> int:
        """How often ranks were lost or added since this process joined."""
        ...

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, in place."""
        ...

    def gather(self, value: Tensor) -> list[Tensor]:
        """The ranks' tensors of equal shape, in order of rank."""
        ...

    def broadcast(self, data: bytes, root: int) -> bytes:
        """One rank's bytes on all ranks; the others' are not looked at."""
        ...

    def survive(self, run: Run, body: Callable[[], T]) -> T:
        """What ``body`` returns; if a rank is lost or added meanwhile, go back to the last commit and call it again.

        ``body`` must begin with ``synchronise``, since a rank that was added knows nothing yet.
        """
        ...

    def commit(self, run: Run) -> None:
        """Keep the run in memory, to come back to, and look whether ranks were added: every rank at the same step."""
        ...

    def barrier(self) -> None:
        """Wait for all ranks."""
        ...

    def leave(self) -> None:
        """Leave the group: every rank, once nothing more is to be exchanged."""
        ...


class SingleProcess:
    """A group of one."""

    rank = 0
    size = 1
    generation = 0

    def average_gradients(self, model: nn.Module) -> None:
        """Nothing to average."""

    def gather(self, value: Tensor) -> list[Tensor]:
        """A list of one."""
        return [value]

    def broadcast(self, data: bytes, root: int) -> bytes:
        """The data itself."""
        return data

    def survive(self, run: Run, body: Callable[[], T]) -> T:
        """Call ``body``."""
        return body()

    def commit(self, run: Run) -> None:
        """Nobody can be lost."""

    def barrier(self) -> None:
        """Nobody to wait for."""

    def leave(self) -> None:
        """Nothing to leave."""


def synchronise(group: Communicator, run: Run) -> None:
    """Give every rank the run of the one that is furthest on, the first of several: every rank at once."""
    if group.size == 1:
        return
    steps = [int(step) for step in group.gather(torch.tensor([run.state.step]))]
    root = steps.index(max(steps))
    found = group.broadcast(run.pack() if group.rank == root else b"", root)
    if group.rank != root:
        run.unpack(found)


def parameter_fingerprint(model: nn.Module) -> Tensor:
    """Two moments of all parameters, (2,) float64: equal on all ranks if the parameters are."""
    flat = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    ramp = torch.arange(1, flat.numel() + 1, dtype=torch.float64, device=flat.device) / flat.numel()
    return torch.stack([flat.sum(), (flat * ramp).sum()]).cpu()
