"""Data parallelism behind the interface of ``gapsmith.training``: Horovod (Sergeev and Del Balso, 2018) or torch's own."""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar

import torch
from torch import Tensor, distributed, nn

from gapsmith.core.errors import UnavailableError
from gapsmith.trainer.elastic import lock_rank
from gapsmith.trainer.gradients import Gradients
from gapsmith.trainer.ranks import STORE
from gapsmith.training.communicator import Communicator, SingleProcess
from gapsmith.training.resume import Run

T = TypeVar("T")
TIMEOUT_S: Final = 60.0  # of an operation of torch's in which a rank does not take part
COMPRESS: Final = "GAPSMITH_TRAINER_COMPRESS"  # fp16: gradients travel in half precision


class HorovodGroup:
    """The processes that Horovod's launcher started; ranks may be lost and added. A ``Communicator``."""

    def __init__(self) -> None:
        """Join the group.

        Raises:
            UnavailableError: Horovod is not installed for this Python and torch, or its own launcher started this process.
        """
        try:
            import horovod.torch as hvd
        except ImportError as error:
            raise UnavailableError(
                f"Horovod is not installed for this Python and torch ({error}): build it with 'make horovod', "
                "or train in one process"
            ) from error
        lock_rank()
        self._hvd: Any = hvd
        self._watch: Any = None
        self.generation = 0
        self._half = os.environ.get(COMPRESS) == "fp16"
        gpu = torch.cuda.is_available()
        if not gpu:  # its look for work every millisecond would take processor time from the training
            os.environ.setdefault("HOROVOD_CYCLE_TIME", "10")
        hvd.init()
        if gpu:
            torch.cuda.set_device(hvd.local_rank())

    @property
    def rank(self) -> int:
        """This process's number, which changes when ranks are lost or added."""
        return int(self._hvd.rank())

    @property
    def size(self) -> int:
        """How many processes there are now."""
        return int(self._hvd.size())

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, in one fused operation.

        A parameter without a gradient on some ranks counts as zero there; one without any keeps none.
        """
        gradients = Gradients.of(model, half=self._half)
        self._hvd.grouped_allreduce_(gradients.tensors, name="gradients", op=self._hvd.Average)
        gradients.put_back()

    def gather(self, value: Tensor) -> list[Tensor]:
        """The ranks' tensors of equal shape, in order of rank."""
        return list(self._hvd.allgather(value.unsqueeze(0), name="gather").unbind(0))

    def broadcast(self, data: bytes, root: int) -> bytes:
        """One rank's bytes on all ranks."""
        length = int(self.gather(torch.tensor([len(data)]))[root])
        found = _as_tensor(data, length)
        self._hvd.broadcast_(found, root, name="broadcast")
        return found.numpy().tobytes()

    def survive(self, run: Run, body: Callable[[], T]) -> T:
        """Call ``body``; when a rank is lost, all others go back to their last commit and call it again."""
        from horovod.common.elastic import State

        group = self

        class Watch(State):  # type: ignore[misc]  # Horovod has no types
            """What Horovod asks of a state that outlives a rank; ``body`` synchronises it itself."""

            def save(self) -> None:
                run.commit()

            def restore(self) -> None:
                run.restore()

            def sync(self) -> None:
                pass

            def reset(self) -> None:
                group.generation += 1
                print(f"{group.size} processes now; the run goes on from step {run.state.step}", flush=True)

        def numbers(values: tuple[int, int, int]) -> tuple[int, ...]:
            wanted = torch.tensor([int(value) for value in values])
            return tuple(self._hvd.broadcast(wanted, 0, name="hosts").tolist())

        self._watch = Watch(bcast_object=numbers, get_rank=self._hvd.rank)
        found: T = self._hvd.elastic.run(lambda watch: body())(self._watch)
        return found

    def commit(self, run: Run) -> None:
        """Keep the run in memory, and take in ranks that were added since the last time."""
        self._watch.commit()

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.gather(torch.zeros(1))

    def leave(self) -> None:
        """Leave the group: every rank, once nothing more is to be exchanged."""
        self._hvd.shutdown()


class TorchGroup:
    """The processes that ``ranks`` started, over NCCL on GPUs and Gloo else; a ``Communicator``, but not elastic."""

    def __init__(self) -> None:
        """Join the group that the environment speaks of.

        Raises:
            UnavailableError: another launcher started this process.
        """
        if STORE not in os.environ:
            raise UnavailableError(
                f"{STORE} is not set: this process was started by another launcher, which anybody may reach; use gapsmith "
                "train"
            )
        self._gpu = torch.cuda.is_available()
        self._half = os.environ.get(COMPRESS) == "fp16"
        if self._gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group(
            "nccl" if self._gpu else "gloo",
            store=distributed.FileStore(os.environ[STORE], int(os.environ["WORLD_SIZE"])),  # type: ignore[attr-defined]  # missing from its exports
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
            timeout=timedelta(seconds=TIMEOUT_S),
        )
        self.rank: int = distributed.get_rank()
        self.size: int = distributed.get_world_size()
        self.generation = 0

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the ranks, in one operation for each kind of number."""
        gradients = Gradients.of(model, half=self._half)
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in gradients.tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for tensors in kinds.values():
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.all_reduce(flat)
            flat /= self.size
            parts = torch.split(flat, [tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))
        gradients.put_back()

    def gather(self, value: Tensor) -> list[Tensor]:
        """The ranks' tensors of equal shape, in order of rank."""
        own = value.detach().cuda() if self._gpu else value.detach()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(parts, own.contiguous())
        return [part.to(value.device) for part in parts]

    def broadcast(self, data: bytes, root: int) -> bytes:
        """One rank's bytes on all ranks."""
        length = int(self.gather(torch.tensor([len(data)]))[root])
        found = _as_tensor(data, length)
        found = found.cuda() if self._gpu else found
        distributed.broadcast(found, root)
        return found.cpu().numpy().tobytes()

    def survive(self, run: Run, body: Callable[[], T]) -> T:
        """Call ``body``; a lost rank ends the training, which goes on from disk when it is started again."""
        return body()

    def commit(self, run: Run) -> None:
        """Nothing to come back to."""

    def barrier(self) -> None:
        """Wait for all ranks."""
        distributed.barrier()

    def leave(self) -> None:
        """Leave the group: every rank, once nothing more is to be exchanged."""
        distributed.destroy_process_group()


def _as_tensor(data: bytes, length: int) -> Tensor:
    """(length,) uint8: the data, or room for as much."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(length, dtype=torch.uint8)


def end_process(code: int) -> NoReturn:
    """End a rank: at once in a group, since Gloo's threads now and then abort an interpreter that clears itself away."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def join() -> Communicator:
    """The group that this process was started in, or itself alone; raises UnavailableError without Horovod in Horovod's."""
    if "HOROVOD_RANK" in os.environ:
        return HorovodGroup()
    return TorchGroup() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else SingleProcess()
