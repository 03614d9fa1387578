"""All stores give what direct indexing gives; the network's is refused without the token and fails in bounded time."""

import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sampled import examples

from gapsmith.core.errors import DataError, InputError, UnavailableError
from gapsmith.datastore import wire
from gapsmith.datastore.cache import SampleCache
from gapsmith.datastore.distributed import DistributedStore, Placement
from gapsmith.datastore.exchange import over
from gapsmith.datastore.peer import Peer
from gapsmith.datastore.ragged import Ragged
from gapsmith.datastore.secret import token
from gapsmith.datastore.server import ShardServer
from gapsmith.datastore.shards import Index, write_shards
from gapsmith.datastore.store import DiskStore, Held, Prefetched, SampleStore, WholeStore
from gapsmith.training.communicator import SingleProcess

INDICES = st.lists(st.integers(0, 82), max_size=30)
QUICK = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(INDICES)
def test_every_store_gives_what_direct_indexing_gives(
    make: SimpleNamespace, whole: Ragged, index: Index, network: list[DistributedStore], indices: list[int]
) -> None:
    stores: list[SampleStore] = [WholeStore(index), DiskStore(index), *network]
    for store in stores:
        make.same(store.fetch(np.array(indices, np.int64)), make.picked(whole, indices))
        assert len(store) == 83
        assert store.sizes.tolist() == whole.sizes.tolist()


@pytest.mark.parametrize("wrong", [[-1], [83], [0, 1000], [[1, 2]]])
def test_samples_that_do_not_exist_are_refused(index: Index, network: list[DistributedStore], wrong: list[Any]) -> None:
    for store in (WholeStore(index), DiskStore(index), network[0]):
        with pytest.raises(IndexError, match="numbered from 0 to 82"):
            store.fetch(np.array(wrong))


def test_each_rank_holds_its_shards_and_no_more(index: Index, whole: Ragged, network: list[DistributedStore]) -> None:
    pair = network[:2]
    assert [len(store.held) for store in pair] == [43, 40]  # shards 0 2 4 6 8 with 10 10 10 10 3 samples, and 1 3 5 7
    assert sum(store.held.nbytes for store in pair) == whole.nbytes


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 40))
def test_every_replica_holds_every_shard_once(members: int, width: int, shards: int) -> None:
    placement = Placement(members * width, width)
    for group in range(width):
        held = [placement.shards(group * members + member, shards) for member in range(members)]
        assert sorted(np.concatenate(held).tolist()) == list(range(shards))
    for asking in range(placement.ranks):
        for member in range(members):
            owners = placement.owners(member, asking)
            assert owners[0] // members == asking // members
            assert len(set(owners)) == width
            assert all(np.array_equal(placement.shards(x, shards), placement.shards(member, shards)) for x in owners)


def test_ranks_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(InputError, match="3 ranks cannot be divided into 2 replicas"):
        Placement(3, 2)


@QUICK
@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=8, unique=True), max_size=12), st.integers(0, 7))
def test_the_cache_keeps_the_most_recently_used(make: SimpleNamespace, batches: list[list[int]], places: int) -> None:
    whole = make.samples([i % 4 for i in range(20)])
    each = 3 * (1 + 12) + 24 + 1
    cache = SampleCache(whole.schema, whole.sizes, places * each)
    used: dict[int, int] = {}  # which batch a sample in the cache was last in
    for number, batch in enumerate(batches):
        wanted = np.array(sorted(batch))
        here = cache.known(wanted)
        assert set(wanted[here].tolist()) == used.keys() & set(batch)
        if here.any():
            make.same(cache.take(wanted[here]), whole.take(wanted[here]))
        before = used | dict.fromkeys(wanted[here].tolist(), number)
        new = wanted[~here].tolist()
        cache.keep(np.array(new, np.int64), whole.take(np.array(new, np.int64)))
        kept = set(np.flatnonzero(cache.known(np.arange(20))).tolist())
        assert len(kept) == min(places, len(before) + len(new))
        assert set(new[:places]) <= kept <= before.keys() | set(new)
        stayed, gone = kept - set(new), before.keys() - kept
        assert not stayed or not gone or max(before[x] for x in gone) <= min(before[x] for x in stayed)
        used = {sample: before.get(sample, number) for sample in kept}


def test_cached_samples_are_not_asked_for_again(index: Index, whole: Ragged, make: SimpleNamespace) -> None:
    first, second = make.group(index, 2, cache_bytes=100_000)
    wanted = np.array([3, 12, 5])  # shards 0 and 1
    second.fetch(wanted)
    first.close()
    make.same(second.fetch(wanted), whole.take(wanted))
    with pytest.raises(UnavailableError):
        second.fetch(np.array([4]))
    second.close()


def test_prefetched_samples_are_those_that_were_asked_for(make: SimpleNamespace, whole: Ragged, index: Index) -> None:
    asked = []

    class Watched(WholeStore):
        def fetch(self, indices: np.ndarray) -> Ragged:
            asked.append((threading.current_thread().name, indices.tolist()))
            return super().fetch(indices)

    store = Prefetched(Watched(index))
    first, second = np.array([5, 1, 80]), np.array([2])
    store.prefetch(first)
    store.prefetch(first)
    make.same(store.fetch(first), whole.take(first))
    assert asked == [("prefetch_0", [5, 1, 80])]
    make.same(store.fetch(second), whole.take(second))
    assert asked[1:] == [("MainThread", [2])]
    for number in range(5):  # nobody asks for these
        store.prefetch(np.array([number]))
    store.prefetch(np.array([99]))
    with pytest.raises(IndexError):
        store.fetch(np.array([99]))
    store.close()


def test_ranks_with_different_data_sets_or_widths_are_refused(
    make: SimpleNamespace, index: Index, folder: Path
) -> None:
    other = write_shards(folder, [make.samples([1, 2, 3])], 1)
    for indexes, widths in (([index, other], [1, 1]), ([index, index], [1, 2])):
        with ThreadPoolExecutor(2) as pool:
            made = [
                pool.submit(
                    DistributedStore, indexes[i], rank=i, ranks=2, exchange=told, token=make.token, width=widths[i]
                )
                for i, told in enumerate(make.exchanges(2))
            ]
        for one in made:
            with pytest.raises(InputError, match="different data sets or widths"):
                one.result()


def test_a_damaged_shard_stops_the_rank_that_owns_it(make: SimpleNamespace, folder: Path) -> None:
    index = write_shards(folder, [make.samples([3] * 20)], 5)
    path = folder / index.shards[1].file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert len(Held(index, np.array([0, 2])).samples) == 10
    for load in (lambda: Held(index, np.array([1, 3])), lambda: DiskStore(index).fetch(np.array([7]))):
        with pytest.raises(DataError, match=r"damaged.*write the data set again"):
            load()


@pytest.fixture
def served(index: Index, make: SimpleNamespace) -> Any:
    server = ShardServer(
        Held(index, np.arange(0, 9, 2)), token=make.token, digest=index.digest, rank=3, host="127.0.0.1"
    )
    yield server
    server.close()


def peer(server: ShardServer, token: bytes, digest: bytes, rank: int = 3) -> Peer:
    return Peer(rank, server.address, token=token, digest=digest, timeout_s=2.0)


def test_a_wrong_token_is_refused_and_nothing_is_served(
    served: ShardServer, index: Index, make: SimpleNamespace
) -> None:
    with pytest.raises(InputError, match=r"rank 3 at 127.0.0.1:\d+ cannot be used: it refused the token"):
        peer(served, b"x" * 32, index.digest).request(np.array([1]))
    with pytest.raises(InputError, match="another data set"):
        peer(served, make.token, hashlib.sha256().digest()).request(np.array([1]))
    with pytest.raises(InputError, match="it is rank 3"):
        peer(served, make.token, index.digest, rank=2).request(np.array([1]))
    with socket.create_connection(served.address, 2) as raw:
        wire.receive(raw, len(wire.MAGIC) + wire.NONCE_BYTES)
        raw.sendall(b"y" * (wire.NONCE_BYTES + wire.PROOF_BYTES) + wire.COUNT.pack(1) + bytes(8))
        try:
            answer = raw.recv(1 << 16)
        except ConnectionResetError:
            answer = b"\1"
        assert answer == b"\1"


def test_a_server_that_does_not_know_the_token_is_refused(make: SimpleNamespace, index: Index) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pretend() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(wire.MAGIC + bytes(wire.NONCE_BYTES))
                wire.receive(connection, wire.NONCE_BYTES + wire.PROOF_BYTES)
                connection.sendall(b"\0" + bytes(wire.PROOF_BYTES) + wire.HELLO.pack(index.digest, 0))

        thread = threading.Thread(target=pretend)
        thread.start()
        false = Peer(0, listener.getsockname(), token=make.token, digest=index.digest, timeout_s=2.0)
        with pytest.raises(InputError, match="does not know the token"):
            false.request(np.array([1]))
        thread.join(5)


def test_a_rank_says_what_it_does_not_hold(served: ShardServer, index: Index, make: SimpleNamespace) -> None:
    one = peer(served, make.token, index.digest)
    one.request(np.array([1, 11]))
    with pytest.raises(DataError, match=r"rank 3 at .*shards \[1\] are not held here"):
        one.receive(Ragged.empty(index.schema, index.sizes[[1, 11]]))
    one.request(np.array([20]))  # the connection is still good
    one.receive(Ragged.empty(index.schema, index.sizes[[20]]))
    with pytest.raises(InputError, match="at most"):
        one.request(np.zeros(wire.MOST_SAMPLES + 1, np.int64))
    one.close()


def test_a_broken_connection_is_made_again(make: SimpleNamespace, index: Index, whole: Ragged) -> None:
    first, second = make.group(index, 2)
    second.fetch(np.array([1]))
    for connection in list(first._server._connections):
        connection.shutdown(socket.SHUT_RDWR)
    make.same(second.fetch(np.array([1, 10, 2])), whole.take(np.array([1, 10, 2])))
    assert second.lost == {}
    first.close()
    second.close()


def test_a_lost_rank_is_an_error_in_bounded_time_or_read_from_disk(
    make: SimpleNamespace, index: Index, whole: Ragged
) -> None:
    for on_loss in ("error", "disk"):
        first, second = make.group(index, 2, timeout_s=1.0, on_loss=on_loss)
        second.fetch(np.array([1]))
        first.close()
        started = time.monotonic()
        if on_loss == "error":
            with pytest.raises(UnavailableError, match=r"lost rank 0 at 127.0.0.1:\d+ .*start the training again"):
                second.fetch(np.array([1, 10]))
        else:
            make.same(second.fetch(np.array([1, 10])), whole.take(np.array([1, 10])))
        assert time.monotonic() - started < 3
        assert list(second.lost) == [0]
        make.same(second.fetch(np.array([10])), whole.take(np.array([10])))  # its own
        second.close()


def test_another_replica_takes_over(make: SimpleNamespace, index: Index, whole: Ragged) -> None:
    stores = make.group(index, 4, width=2)
    assert [len(store.held) for store in stores] == [43, 40, 43, 40]
    everything = np.arange(83)[::-1]
    stores[1].close()
    for rank in (0, 2, 3):
        make.same(stores[rank].fetch(everything), whole.take(everything))
    assert list(stores[0].lost) == [1]
    assert stores[2].lost == {}  # asks its own group
    for store in stores:
        store.close()


def test_addresses_that_others_cannot_use_are_refused(index: Index, make: SimpleNamespace) -> None:
    held = Held(index, np.array([0]))
    with pytest.raises(InputError, match="name the address by which other ranks reach it"):
        ShardServer(held, token=make.token, digest=index.digest, rank=0, host="0.0.0.0")
    with pytest.raises(UnavailableError, match=r"cannot listen at 192.0.2.1"):
        ShardServer(held, token=make.token, digest=index.digest, rank=0, host="192.0.2.1")
    with pytest.raises(InputError, match="at least 16 bytes"):
        ShardServer(held, token=b"short", digest=index.digest, rank=0, host="127.0.0.1")


def test_the_token_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s" * 32 + "\n")
    path.chmod(0o600)
    assert token({"GAPSMITH_DATASTORE_TOKEN_FILE": str(path)}) == b"s" * 32
    assert token({"GAPSMITH_DATASTORE_TOKEN": "t" * 16}) == b"t" * 16
    path.chmod(0o644)
    wrong = {"chmod 600": str(path), "cannot be read": str(tmp_path / "none")}
    for message, where in wrong.items():
        with pytest.raises(InputError, match=message):
            token({"GAPSMITH_DATASTORE_TOKEN_FILE": where})
    with pytest.raises(InputError, match="set GAPSMITH_DATASTORE_TOKEN"):
        token({})
    with pytest.raises(InputError, match="at least 16 bytes"):
        token({"GAPSMITH_DATASTORE_TOKEN": "short"})


def test_messages_go_through_a_communicator() -> None:
    exchange = over(SingleProcess())
    assert exchange(b"") == [b""]
    assert exchange(bytes(range(256))) == [bytes(range(256))]
    with pytest.raises(InputError, match="too long"):
        exchange(bytes(511))
