"""Data parallelism with Horovod (Sergeev and Del Balso, 2018), behind the interface of ``gapsmith.training``."""

import os
from typing import Any

import torch
from torch import Tensor, nn

from gapsmith.core.errors import UnavailableError
from gapsmith.training.communicator import Communicator, SingleProcess


class HorovodGroup:
    """The processes that ``horovodrun`` started; see ``gapsmith.training.communicator.Communicator``."""

    def __init__(self) -> None:
        """Join the group.

        Raises:
            UnavailableError: Horovod is not installed for this Python and torch.
        """
        try:
            import horovod.torch as hvd
        except ImportError as error:
            raise UnavailableError(
                f"Horovod is not installed for this Python and torch ({error}): build it with 'make horovod', "
                "or train in one process"
            ) from error
        self._hvd: Any = hvd
        hvd.init()
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, in one fused operation.

        A parameter without a gradient on some ranks counts as zero there; one without any keeps none.
        """
        parameters = [p for p in model.parameters() if p.requires_grad]
        present = torch.tensor([float(p.grad is not None) for p in parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self._hvd.grouped_allreduce_([present, *gradients], name="gradients", op=self._hvd.Average)
        for parameter, gradient, share in zip(parameters, gradients, present.tolist(), strict=True):
            parameter.grad = gradient if share > 0 else None

    def broadcast_parameters(self, model: nn.Module) -> None:
        """Give every rank rank 0's parameters and buffers."""
        self._hvd.broadcast_parameters(model.state_dict(), root_rank=0)

    def max(self, value: float) -> float:
        """The largest of the ranks' values."""
        return float(self._hvd.allreduce(torch.tensor([value], dtype=torch.float64), name="max", op=self._hvd.Max))

    def gather(self, value: Tensor) -> list[Tensor]:
        """The ranks' tensors of equal shape, in order of rank."""
        return list(self._hvd.allgather(value.unsqueeze(0), name="gather").unbind(0))

    def leave(self) -> None:
        """Leave the group: every rank, once nothing more is to be exchanged."""
        self._hvd.shutdown()


def join() -> Communicator:
    """The group that this process was started in: Horovod's, or itself alone; raises UnavailableError."""
    return HorovodGroup() if int(os.environ.get("HOROVOD_SIZE", "1")) > 1 else SingleProcess()
