"""Data of a training in two processes: read from disk every time, whole in every memory, or spread over the two.

QM9's training split, molecules with seven properties and charges. Memory is what a process's own grows by when a store
is opened and one epoch of random batches has gone through it. Speeds are of both processes together, each step waiting
for the slower one; stores take turns round by round, so that other work on the machine hits all alike.
"""

import ctypes
import gc
import multiprocessing
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed

from gapsmith.datastore.distributed import DistributedStore, Exchange
from gapsmith.datastore.shards import Index
from gapsmith.datastore.store import DiskStore, Prefetched, SampleStore, WholeStore
from gapsmith.surrogate import sources
from gapsmith.surrogate.batches import Batch, MixedSource, Share
from gapsmith.surrogate.config import DEFAULT, load
from gapsmith.surrogate.loss import losses
from gapsmith.surrogate.stored import StoredShare, StoredSource, labelled, molecules_of, write_molecules
from gapsmith.surrogate.trainable import build
from gapsmith.training.protocol import BatchSource

RANKS = 2
BATCH = 128  # molecules of a fetch, or of a step of both processes
WIDTH = 32  # features of the small network, which asks for data more often than the shipped one
FETCHES, STEPS, ROUNDS, WARM = 50, 4, 9, 1
MIB = 1 << 20
STORES = ("disk", "whole", "distributed")
WAIT_S = 600.0
Answer = dict[str, Any]
Times = tuple[float, float]  # seconds: by the clock, and of all threads of the process


def measure() -> Answer:
    """Memory, fetches and training steps of every store."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as name:
        folder = Path(name)
        index = write_molecules(folder / "qm9", [sources.there("qm9", "train")])
        of_data = sum(field.entry_bytes * _entries(index, field.per_atom) for field in index.schema.values())
        memory = {kind: _run(_memory, folder, kind) for kind in ("resident", *STORES)}
        speeds = _run(_speeds, folder, "")
    return {
        "processes": RANKS,
        "molecules": len(index),
        "data_mib": round(of_data / MIB, 1),
        "memory_per_rank": {
            kind: {name: round(max(rank[name] for rank in ranks), 1) for name in ranks[0]}
            for kind, ranks in memory.items()
        },
        "fetch": _compared([rank["fetch"] for rank in speeds], FETCHES * BATCH * RANKS),
        "training": _compared([rank["training"] for rank in speeds], STEPS * BATCH),
    }


def _entries(index: Index, per_atom: bool) -> int:
    return int(index.sizes.sum(dtype=np.int64)) if per_atom else len(index)


def _compared(ranks: list[dict[str, list[Times]]], samples: int) -> Answer:
    """Samples a second; how this and the processor time of all threads compare with the same round all in memory.

    Medians over the rounds.
    """
    slower = {
        kind: [max(t[0] for t in times) for times in zip(*(r[kind] for r in ranks), strict=True)] for kind in ranks[0]
    }
    cpu = {
        kind: [sum(t[1] for t in times) for times in zip(*(r[kind] for r in ranks), strict=True)] for kind in ranks[0]
    }
    return {
        kind: {
            "samples_per_s": round(samples / statistics.median(times)),
            "speed_of_whole": round(statistics.median(w / t for w, t in zip(slower["whole"], times, strict=True)), 3),
            "cpu_of_whole": round(statistics.median(t / w for w, t in zip(cpu["whole"], cpu[kind], strict=True)), 3),
        }
        for kind, times in slower.items()
    }


def _run(work: Callable[[Path, str, int, Exchange], Answer], folder: Path, kind: str) -> list[Answer]:
    """What every rank's process answers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.datastore"])  # torch is imported once
    pipes = [context.Pipe() for _ in range(RANKS)]
    running = [
        context.Process(target=_rank, args=(work, folder, kind, rank, pipes[rank][1]), daemon=True)
        for rank in range(RANKS)
    ]
    for process in running:
        process.start()
    for _, theirs in pipes:
        theirs.close()  # so that a dead rank is an EOFError
    try:
        while True:
            told = [_receive(mine) for mine, _ in pipes]
            if isinstance(told[0], dict):
                return told
            for mine, _ in pipes:
                mine.send(told)
    finally:
        for process in running:
            process.join(10)
            process.kill()


def _receive(pipe: "Connection[Any, Any]") -> Any:
    if not pipe.poll(WAIT_S):
        raise TimeoutError(f"a rank said nothing for {WAIT_S:g} s")
    return pipe.recv()


def _rank(work: Callable[..., Answer], folder: Path, kind: str, rank: int, pipe: "Connection[Any, Any]") -> None:
    torch.set_num_threads(1)

    def exchange(message: bytes) -> list[bytes]:
        pipe.send(message)
        found: list[bytes] = pipe.recv()
        return found

    answer = work(folder, kind, rank, exchange)
    exchange(b"done")  # nobody leaves while another may still ask it for samples
    pipe.send(answer)


def _opened(kind: str, index: Index, rank: int, exchange: Exchange) -> SampleStore:
    if kind == "disk":
        return DiskStore(index)
    if kind == "whole":
        return WholeStore(index)
    token = exchange(secrets.token_bytes(32))[0]
    store = DistributedStore(index, rank=rank, ranks=RANKS, exchange=exchange, token=token)
    return Prefetched(store) if kind == "distributed_prefetched" else store


def _resident(index: Index) -> MixedSource:
    """What training does without a store: molecules and their bootstrap weights as tensors."""
    samples = DiskStore(index).fetch(np.arange(len(index)))
    share = Share(molecules_of(samples), 1.0, 0.0)
    return MixedSource({"qm9": share}, batch_size=BATCH, seed=0, device="cpu")


def _stored(store: SampleStore, index: Index) -> StoredSource:
    share = StoredShare(store, labelled(index), 1.0, 0.0)
    return StoredSource({"qm9": share}, batch_size=BATCH, seed=0, device="cpu")


def _memory(folder: Path, kind: str, rank: int, exchange: Exchange) -> Answer:
    """MiB that this process's memory grew by: its own, and with its part of what is shared (USS and PSS)."""
    index = Index.read(folder / "qm9")
    DiskStore(index).fetch(np.arange(BATCH))  # what is imported and allocated once counts for no store
    before = _used()
    exchange(b"measured")
    kept: object
    if kind == "resident":
        kept = _resident(index)
    else:
        store = kept = _opened(kind, index, rank, exchange)
        order = np.random.default_rng(rank).permutation(len(index))
        for start in range(0, len(order), BATCH):
            store.fetch(order[start : start + BATCH])
    exchange(b"everyone has fetched")
    after = _used()
    exchange(b"everyone has measured")
    answer = {f"{name}_mib": (after[name] - before[name]) / MIB for name in after}
    held = kept.held.nbytes / MIB if isinstance(kept, DistributedStore) else 0.0
    return {**answer, "held_mib": held} if held else answer


def _used() -> dict[str, int]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = psutil.Process().memory_full_info()
    return {"uss": found.uss, "pss": found.pss}


def _speeds(folder: Path, _: str, rank: int, exchange: Exchange) -> Answer:
    """Times of every round, by store."""
    index = Index.read(folder / "qm9")
    stores = {kind: _opened(kind, index, rank, exchange) for kind in (*STORES, "distributed_prefetched")}
    sources: dict[str, BatchSource] = {kind: _stored(store, index) for kind, store in stores.items()}
    draw = np.random.default_rng(rank)

    def fetch(store: SampleStore) -> Callable[[int], None]:
        def some(number: int) -> None:
            for _ in range(FETCHES):
                store.fetch(draw.integers(0, len(store), BATCH))

        return some

    fetched = _rounds({kind: fetch(stores[kind]) for kind in STORES}, exchange)
    address = f"file://{folder / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=RANKS)
    trained = _rounds(_steps({"resident": _resident(index), **sources}, rank), exchange)
    torch.distributed.destroy_process_group()
    return {"fetch": fetched, "training": trained}


def _rounds(work: Mapping[str, Callable[[int], None]], exchange: Exchange) -> dict[str, list[Times]]:
    times: dict[str, list[Times]] = {kind: [] for kind in work}
    for number in range(WARM + ROUNDS):
        for kind in (*list(work)[number % len(work) :], *list(work)[: number % len(work)]):
            exchange(b"ready")
            started = time.perf_counter(), time.process_time()
            work[kind](number)
            exchange(b"done")  # what the other still wants of this one belongs to the round
            if number >= WARM:
                times[kind].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return times


def _steps(sources: Mapping[str, BatchSource], rank: int) -> dict[str, Callable[[int], None]]:
    """Training steps of a small network, with the gradients' mean over both processes (gloo)."""
    config = load(DEFAULT).as_dict()
    config["trunk"] |= {"layers": 2, "features": WIDTH, "vector_features": WIDTH // 2, "latent": WIDTH}
    torch.manual_seed(0)
    model = build(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        losses(model, batch)["loss"].backward()  # type: ignore[no-untyped-call]  # torch has no type here
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient) / RANKS)
            start += gradient.numel()
        optimizer.step()

    def steps(source: BatchSource) -> Callable[[int], None]:
        def some(number: int) -> None:
            for index in range(number * STEPS, (number + 1) * STEPS):
                step(source.batch(index, rank=rank, size=RANKS))

        return some

    return {kind: steps(source) for kind, source in sources.items()}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(measure())
