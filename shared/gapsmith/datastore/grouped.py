"""Data stores of a training's ranks, opened anew whenever ranks were lost or added."""

import os
import secrets
import socket
from collections.abc import Callable
from typing import Any, Final

from gapsmith.core.errors import UnavailableError
from gapsmith.datastore.distributed import DistributedStore
from gapsmith.datastore.exchange import over
from gapsmith.datastore.shards import Index
from gapsmith.datastore.store import DiskStore, Prefetched, SampleStore
from gapsmith.training.communicator import Communicator
from gapsmith.training.protocol import BatchSource, Storage

CACHE_BYTES: Final = 8 << 20  # of other ranks' samples


def open_store(index: Index, group: Communicator, storage: Storage, replicas: int = 1) -> SampleStore:
    """A data set spread over the ranks' memory, or on disk: every rank at once.

    Args:
        index: of the data set, the same on all ranks.
        group: the ranks.
        storage: ``distributed`` or ``disk``.
        replicas: of the whole that the ranks hold together; as many as go into a group that has become smaller.

    Raises:
        DataError: a shard is missing or damaged.
        UnavailableError: this machine's address cannot be found or listened at.
    """
    if storage == "disk" or group.size == 1:
        return Prefetched(DiskStore(index))
    width = max(number for number in range(1, replicas + 1) if group.size % number == 0)
    store = DistributedStore(
        index,
        rank=group.rank,
        ranks=group.size,
        exchange=over(group),
        token=group.broadcast(secrets.token_bytes(32) if group.rank == 0 else b"", 0),
        width=width,
        host=address(os.environ.get("GLOO_SOCKET_IFNAME", "lo")),
        cache_bytes=CACHE_BYTES,
        on_loss="disk",
    )
    return Prefetched(store)


def address(network_interface: str) -> str:
    """The IPv4 address of an interface of this machine; raises UnavailableError if it has none."""
    import psutil  # only where several processes train

    for found in psutil.net_if_addrs().get(network_interface, []):
        if found.family == socket.AF_INET:
            return str(found.address)
    raise UnavailableError(f"this machine has no network interface {network_interface!r} with an IPv4 address")


class GroupedSource:
    """Batches out of stores that belong to a group as it is now; see ``BatchSource``."""

    def __init__(self, group: Communicator, opened: Callable[[], tuple[BatchSource, list[SampleStore]]]) -> None:
        """``opened`` opens the stores, on every rank at once, when the first batch is asked for and after every change."""
        self._group, self._opened = group, opened
        self._generation, self._stores = -1, list[SampleStore]()
        self._source: BatchSource | None = None

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> Any:
        """One rank's share of a step's batch."""
        if self._source is None or self._generation != self._group.generation:
            self.close()
            self._generation = self._group.generation
            self._source, self._stores = self._opened()
        return self._source.batch(step, rank=rank, size=size)

    def close(self) -> None:
        """Close the stores: once no other rank asks for their samples any more."""
        for store in self._stores:
            store.close()
        self._source, self._stores = None, []
