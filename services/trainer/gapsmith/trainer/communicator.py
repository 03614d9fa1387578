"""Data parallelism behind the interface of ``gapsmith.training``: Horovod (Sergeev and Del Balso, 2018) or torch's own."""

import os
import sys
from datetime import timedelta
from typing import Any, Final, NoReturn

import torch
from torch import Tensor, distributed, nn

from gapsmith.core.errors import UnavailableError
from gapsmith.training.communicator import Communicator, SingleProcess

TIMEOUT_S: Final = 60.0  # of an operation in which a rank does not take part


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
        parameters, present, gradients = _gradients(model)
        self._hvd.grouped_allreduce_([present, *gradients], name="gradients", op=self._hvd.Average)
        _put_back(parameters, present, gradients)

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


class TorchGroup:
    """The processes that ``torchrun`` started, over NCCL on GPUs and Gloo else; a ``Communicator``, too."""

    def __init__(self) -> None:
        """Join the group that the environment speaks of (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT)."""
        self._gpu = torch.cuda.is_available()
        if self._gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if self._gpu else "gloo", timeout=timedelta(seconds=TIMEOUT_S))
        self.rank: int = distributed.get_rank()
        self.size: int = distributed.get_world_size()

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, in one operation for each kind of number."""
        parameters, present, gradients = _gradients(model)
        present = present.cuda() if self._gpu else present
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in (present, *gradients):
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for tensors in kinds.values():
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.all_reduce(flat)
            flat /= self.size
            parts = torch.split(flat, [tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))
        _put_back(parameters, present, gradients)

    def broadcast_parameters(self, model: nn.Module) -> None:
        """Give every rank rank 0's parameters and buffers."""
        for tensor in model.state_dict().values():
            distributed.broadcast(tensor, src=0)

    def max(self, value: float) -> float:
        """The largest of the ranks' values."""
        return float(torch.stack(self.gather(torch.tensor(value, dtype=torch.float64))).max())

    def gather(self, value: Tensor) -> list[Tensor]:
        """The ranks' tensors of equal shape, in order of rank."""
        own = value.detach().cuda() if self._gpu else value.detach()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(parts, own.contiguous())
        return [part.to(value.device) for part in parts]

    def leave(self) -> None:
        """Leave the group: every rank, once nothing more is to be exchanged."""
        distributed.destroy_process_group()


def end_process(code: int) -> NoReturn:
    """End a rank: at once under torchrun, since Gloo's threads now and then abort an interpreter that clears itself away."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _gradients(model: nn.Module) -> tuple[list[nn.Parameter], Tensor, list[Tensor]]:
    """Trained parameters, which of them have a gradient (0 or 1), and gradients with zeros in place of none."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    present = torch.tensor([float(p.grad is not None) for p in parameters])
    return parameters, present, [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def _put_back(parameters: list[nn.Parameter], present: Tensor, gradients: list[Tensor]) -> None:
    for parameter, gradient, share in zip(parameters, gradients, present.tolist(), strict=True):
        parameter.grad = gradient if share > 0 else None


def join() -> Communicator:
    """The group that this process was started in, or itself alone; raises UnavailableError without Horovod in Horovod's."""
    if int(os.environ.get("HOROVOD_SIZE", "1")) > 1:
        return HorovodGroup()
    return TorchGroup() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else SingleProcess()
