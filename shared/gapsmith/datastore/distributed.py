"""A data set spread over the memory of a run's ranks.

The idea is that of DDStore (Choi et al., SC-W 2023): each shard is read from disk once by the rank that owns it, kept in
its memory and served to the others over the network. ``width`` is the number of replicas: ranks are divided into so many
groups, each of which holds everything, so a rank holds ``width / ranks`` of it and asks its own group.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.datastore.cache import SampleCache
from gapsmith.datastore.peer import Peer
from gapsmith.datastore.ragged import Ragged
from gapsmith.datastore.server import ShardServer
from gapsmith.datastore.shards import Index
from gapsmith.datastore.store import DiskStore, Held, checked, in_order, shards_of

Exchange = Callable[[bytes], list[bytes]]  # one message of every rank, in order of rank, to all of them
RETRY_S = 0.1


@dataclass(frozen=True)
class Placement:
    """Which rank holds which shards."""

    ranks: int
    width: int = 1  # replicas

    def __post_init__(self) -> None:
        """Raise InputError unless the ranks can be divided into that many groups."""
        if self.width < 1 or self.ranks % self.width:
            raise InputError(f"{self.ranks} ranks cannot be divided into {self.width} replicas of equal size")

    @property
    def members(self) -> int:
        """Ranks of a group."""
        return self.ranks // self.width

    def shards(self, rank: int, shards: int) -> np.ndarray:
        """Numbers of the shards that a rank holds."""
        return np.arange(rank % self.members, shards, self.members)

    def owners(self, member: int, asking: int) -> list[int]:
        """Ranks that hold a member's shards: first of the asking rank's group, then of the groups after it."""
        group = asking // self.members
        return [(group + step) % self.width * self.members + member for step in range(self.width)]


class DistributedStore:
    """Holds a share of the shards and fetches the rest from other ranks; see ``SampleStore``."""

    def __init__(
        self,
        index: Index,
        *,
        rank: int,
        ranks: int,
        exchange: Exchange,
        token: bytes,
        width: int = 1,
        host: str = "127.0.0.1",
        cache_bytes: int = 0,
        timeout_s: float = 10.0,
        on_loss: Literal["error", "disk"] = "error",
    ) -> None:
        """Read this rank's shards, serve them, and learn the others' addresses; every rank at once.

        Args:
            index: of the data set; the same on all ranks.
            rank: of this process.
            ranks: how many there are.
            exchange: gathers one message of every rank on all of them.
            token: the run's secret, at least 16 bytes, the same on all ranks.
            width: number of replicas, which divides the number of ranks.
            host: address of this machine's interface to serve at.
            cache_bytes: bound of the memory for samples of other ranks.
            timeout_s: how long a rank may be silent or gone before it counts as lost.
            on_loss: what to do when all ranks that hold a sample are lost: fail, or read from disk.

        Raises:
            DataError: a shard is missing or damaged.
            InputError: the ranks disagree on the data set or the width, or a setting is impossible.
            UnavailableError: the address cannot be listened at.
        """
        self._rank, self._placement = rank, Placement(ranks, width)
        self._index, self._starts = index, index.starts
        self.schema, self.sizes = index.schema, index.sizes
        self._timeout_s, self._on_loss = timeout_s, on_loss
        self._held = Held(index, self._placement.shards(rank, len(index.shards)))
        self._cache = SampleCache(index.schema, index.sizes, cache_bytes)
        self._disk = DiskStore(index)
        self._lock = threading.Lock()
        self._server = ShardServer(self._held, token=token, digest=index.digest, rank=rank, host=host)
        try:
            self._peers = [
                Peer(number, address, token=token, digest=index.digest, timeout_s=timeout_s)
                for number, address in enumerate(self._addresses(exchange))
            ]
        except BaseException:
            self._server.close()
            raise

    def _addresses(self, exchange: Exchange) -> list[tuple[str, int]]:
        placement, same = self._placement, [self._index.digest.hex(), self._placement.width]
        told = [json.loads(text) for text in exchange(json.dumps([*self._server.address, *same]).encode())]
        if len(told) != placement.ranks:
            raise InputError(f"the exchange gave messages of {len(told)} ranks, expected {placement.ranks}")
        for rank, (_, _, *theirs) in enumerate(told):
            if theirs != same:
                raise InputError(f"ranks {self._rank} and {rank} have different data sets or widths: {same}, {theirs}")
        return [(host, port) for host, port, *_ in told]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.sizes)

    @property
    def held(self) -> Ragged:
        """The samples that this rank holds."""
        return self._held.samples

    @property
    def lost(self) -> dict[int, str]:
        """Ranks that count as lost, and why."""
        return {peer.rank: peer.failure for peer in self._peers if peer.failure is not None}

    def fetch(self, indices: np.ndarray) -> Ragged:
        """Samples in the order asked; one request to every rank that owns some, all at once.

        Raises:
            IndexError: there is no such sample.
            UnavailableError: all ranks that hold a sample are lost; after at most ``timeout_s`` for each, and once more.
            DataError: a rank does not have what it should, or a shard on disk is damaged.
        """
        indices = checked(indices, len(self))
        member = shards_of(self._starts, indices) % self._placement.members
        own = member == self._rank % self._placement.members
        with self._lock:
            here = ~own & self._cache.known(indices)
            parts, places = [], []
            for mask, take in ((own, self._held.take), (here, self._cache.take)):
                if mask.any():
                    places.append(np.flatnonzero(mask))
                    parts.append(take(indices[places[-1]]))
            if not (own | here).all():
                wanted, back = np.unique(indices[~(own | here)], return_inverse=True)
                samples = self._remote(wanted)
                parts.append(samples if len(back) == len(wanted) and (np.diff(back) > 0).all() else samples.take(back))
                places.append(np.flatnonzero(~(own | here)))
                self._cache.keep(wanted, samples)
        return in_order(parts, places, self.schema)

    def _remote(self, wanted: np.ndarray) -> Ragged:
        """Different samples of other ranks."""
        member = shards_of(self._starts, wanted) % self._placement.members
        places = {int(number): np.flatnonzero(member == number) for number in np.unique(member)}
        found: dict[int, Ragged] = {}
        until: float | None = None  # when to give up on ranks that are lost
        try:
            while missing := {number: wanted[place] for number, place in places.items() if number not in found}:
                asked: dict[int, Peer] = {}
                for number, indices in missing.items():
                    owners = [self._peers[owner] for owner in self._placement.owners(number, self._rank)]
                    peer = next((owner for owner in owners if owner.failure is None), None)
                    if peer is not None:
                        asked |= {number: peer} if self._request(peer, indices) else {}
                    elif self._on_loss == "disk":
                        found[number] = self._disk.fetch(indices)
                    elif until is None or time.monotonic() < until:
                        until = until or time.monotonic() + self._timeout_s
                        time.sleep(RETRY_S)
                        for owner in owners:  # they may be back
                            owner.failure = None
                    else:
                        raise _gone(owners)
                for number, peer in asked.items():
                    if (samples := self._receive(peer, missing[number])) is not None:
                        found[number] = samples
        except BaseException:  # replies that nobody read would be taken for those of the next requests
            for peer in self._peers:
                peer.close()
            raise
        return in_order(list(found.values()), [places[number] for number in found], self.schema)

    def _request(self, peer: Peer, indices: np.ndarray) -> bool:
        """Whether it was sent."""
        try:
            peer.request(indices)
        except OSError as error:
            self._failed(peer, error)
            return False
        return True

    def _receive(self, peer: Peer, indices: np.ndarray) -> Ragged | None:
        """The samples, None if the rank failed."""
        samples = Ragged.empty(self.schema, self.sizes[indices])
        try:
            peer.receive(samples)
        except OSError as error:
            self._failed(peer, error)
            return None
        peer.broken = 0
        return samples

    def _failed(self, peer: Peer, error: OSError) -> None:
        """An old connection may have broken, so a new one is tried before the rank counts as lost."""
        peer.close()
        peer.broken += 1
        if isinstance(error, TimeoutError):
            peer.failure = f"silent for {self._timeout_s:g} s"
        elif peer.broken > 1:
            peer.failure = str(error) or type(error).__name__

    def close(self) -> None:
        """End the connections and stop serving: once no other rank will ask any more."""
        with self._lock:
            for peer in self._peers:
                peer.close()
        self._server.close()
        self._disk.close()


def _gone(owners: list[Peer]) -> UnavailableError:
    reasons = "; ".join(f"{owner} ({owner.failure})" for owner in owners)
    return UnavailableError(
        f"the data store lost {reasons}, and nobody else holds its samples: start the training again, "
        "or run it with more replicas (width) or on_loss='disk'"
    )
