"""One process of the measurement: ``python -m benchmarks.scaling.rank SOCKET``, alone or one of several."""

import os
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Client
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from benchmarks.scaling.group import Answer, Exchange, Training
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import sources
from gapsmith.surrogate.batches import MixedSource, Share
from gapsmith.surrogate.config import DEFAULT, load
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.trainable import SurrogateTrainable, build
from gapsmith.trainer.communicator import end_process, join
from gapsmith.training.communicator import Communicator, SingleProcess
from gapsmith.training.loop import TrainingPlan, train
from gapsmith.training.memory import keep_freed_memory

MOLECULES = 20_000  # of QM9's training split, drawn at random
WARM = 3  # steps, or calls, before those that count


def sample() -> Molecules:
    """What is trained on."""
    whole = sources.there("qm9", "train")
    return whole.take(np.random.default_rng(0).permutation(len(whole))[:MOLECULES])


class Watched:
    """A source of batches and a group of processes that note when each step of a training is where."""

    def __init__(self, source: MixedSource, group: Communicator) -> None:
        self._source, self._group = source, group
        self._marks: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Any:
        """See ``BatchSource``."""
        self._marks.append(time.perf_counter())
        found = self._source.batch(step, rank=rank, size=size)
        self._marks.append(time.perf_counter())
        return found

    def average_gradients(self, model: nn.Module) -> None:
        """See ``Communicator``."""
        self._marks.append(time.perf_counter())
        self._group.average_gradients(model)
        self._marks.append(time.perf_counter())

    def phases(self) -> np.ndarray:
        """(steps - 1, 4) seconds of batch, gradients, exchange and update; nothing ends the last step's update."""
        marks = np.array(self._marks).reshape(-1, 4)
        return np.diff(np.concatenate([marks[:-1], marks[1:, :1]], 1), axis=1)


class Rank:
    """One process: a network of the default configuration and its optimizer, on QM9 alone."""

    def __init__(self) -> None:
        keep_freed_memory()
        torch.set_num_threads(1)
        self.group, self.config, self.molecules = join(), load(DEFAULT), sample()
        self._sources: dict[int, MixedSource] = {}

    def model(self) -> SurrogateNetwork:
        """The network, anew; its weights do not matter."""
        torch.manual_seed(0)
        return build(self.config.as_dict())

    def train(self, wanted: Training) -> Answer:
        """Seconds of every step's phases."""
        if wanted.batch not in self._sources:
            share = {"qm9": Share(self.molecules, 1.0, 0.0)}
            self._sources[wanted.batch] = MixedSource(share, batch_size=wanted.batch, seed=0, device="cpu")
        watched = Watched(self._sources[wanted.batch], self.group if wanted.together else SingleProcess())
        settings = self.config.training
        plan = TrainingPlan(
            steps=WARM + wanted.steps + 1,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup_steps,
        )
        # whatever else the loop asks of a group is passed on to it
        train(SurrogateTrainable(), self.model(), watched, plan, communicator=cast(Communicator, watched))
        return {"phases": watched.phases()[WARM:]}

    def exchange(self, wanted: Exchange) -> Answer:
        """Seconds of every call."""
        model: nn.Module = self.model()
        if wanted.size_bytes is not None:
            model = nn.ParameterList([torch.zeros(wanted.size_bytes // 4)])
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        times = []
        for _ in range(WARM + wanted.calls):
            self.group.gather(torch.zeros(1))  # all begin at once
            started = time.perf_counter()
            self.group.average_gradients(model)
            times.append(time.perf_counter() - started)
        return {"seconds": np.array(times[WARM:])}


def main(address: str) -> int:
    """Do what is asked until nobody asks any more."""
    rank = Rank()
    with Client(address, family="AF_UNIX") as pipe, suppress(EOFError):
        pipe.send((rank.group.rank, os.getpid()))
        while True:
            wanted = pipe.recv()
            pipe.send(rank.train(wanted) if isinstance(wanted, Training) else rank.exchange(wanted))
    return 0


if __name__ == "__main__":
    end_process(main(sys.argv[1]))
