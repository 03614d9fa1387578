"""Made-up samples, and stores of several ranks in one process."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gapsmith.datastore.distributed import DistributedStore
from gapsmith.datastore.ragged import Ragged, offsets_of
from gapsmith.datastore.shards import Index, write_shards

TOKEN = b"0123456789abcdef0123456789abcdef"


def samples(sizes: list[int], seed: int = 0) -> Ragged:
    """Samples of these sizes with arrays of several types and shapes; every value is different."""
    offsets = offsets_of(np.array(sizes, np.int64))
    count, atoms, draw = len(sizes), int(offsets[-1]), np.random.default_rng(seed)
    return Ragged.of(
        offsets,
        per_sample={"targets": draw.standard_normal((count, 3)), "known": draw.random(count) < 0.5},
        per_atom={
            "numbers": draw.integers(1, 10, atoms).astype(np.uint8),
            "coordinates": draw.standard_normal((atoms, 3)).astype(np.float32),
        },
    )


def same(one: Ragged, other: Ragged) -> None:
    """Fail unless two sets of samples are equal in every bit, order and type."""
    assert list(one.schema.items()) == list(other.schema.items())
    assert one.offsets.tolist() == other.offsets.tolist()
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        assert array.shape == other.arrays[name].shape
        np.testing.assert_array_equal(array, other.arrays[name])


def picked(whole: Ragged, indices: list[int]) -> Ragged:
    """The same as ``take``, one sample after another."""
    pieces = [whole.between(i, i + 1) for i in indices]
    arrays: dict[str, Any] = {
        name: np.concatenate([piece.arrays[name] for piece in pieces] or [array[:0]])
        for name, array in whole.arrays.items()
    }
    return Ragged(offsets_of(np.array([whole.sizes[i] for i in indices], np.int64)), arrays, whole.schema)


def exchanges(ranks: int) -> list[Callable[[bytes], list[bytes]]]:
    """One exchange for every rank of a group of threads."""
    messages, barrier = [b""] * ranks, threading.Barrier(ranks, timeout=20)

    def of(rank: int) -> Callable[[bytes], list[bytes]]:
        def exchange(message: bytes) -> list[bytes]:
            messages[rank] = message
            barrier.wait()
            return list(messages)

        return exchange

    return [of(rank) for rank in range(ranks)]


def group(index: Index, ranks: int, **settings: Any) -> list[DistributedStore]:
    """The stores of all ranks."""
    settings = {"token": TOKEN, "timeout_s": 2.0, **settings}
    with ThreadPoolExecutor(ranks) as pool:
        made = [
            pool.submit(DistributedStore, index, rank=rank, ranks=ranks, exchange=exchange, **settings)
            for rank, exchange in enumerate(exchanges(ranks))
        ]
    return [one.result() for one in made]


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above."""
    return SimpleNamespace(
        samples=samples, same=same, picked=picked, exchanges=exchanges, group=group, token=TOKEN, write=write_shards
    )


@pytest.fixture(scope="session")
def whole() -> Ragged:
    """Samples of 0 to 9 atoms."""
    return samples(np.random.default_rng(1).integers(0, 10, 83).tolist())


@pytest.fixture(scope="session")
def index(whole: Ragged, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """The same in nine shards."""
    return write_shards(tmp_path_factory.mktemp("shards"), [whole], 10, about={"source": "made up"})


@pytest.fixture(scope="session")
def network(index: Index) -> Iterator[list[DistributedStore]]:
    """Two ranks that hold half each, and two more that keep a few samples of each other."""
    stores = [*group(index, 2), *group(index, 2, cache_bytes=1000)]
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test may write."""
    return tmp_path / "set"
