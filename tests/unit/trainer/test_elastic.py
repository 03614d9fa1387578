"""Values of Horovod's rendezvous: JSON that this run's token signs, and nothing else."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core.errors import UnavailableError
from gapsmith.trainer import elastic
from gapsmith.trainer.communicator import TorchGroup
from gapsmith.trainer.elastic import ForeignMessage, lock_rank

KEYS = st.binary(min_size=16, max_size=48)
PORTS = st.integers(1, 65535)
ADDRESSES = st.dictionaries(
    st.text(max_size=15), st.lists(st.tuples(st.text(max_size=20), PORTS), max_size=3), max_size=3
)


@given(key=KEYS, addresses=ADDRESSES, secret=st.binary(max_size=64))
def test_an_address_is_read_as_it_was_written(
    key: bytes, addresses: dict[str, list[tuple[str, int]]], secret: bytes
) -> None:
    assert elastic._address(key, elastic._signed_address(key, addresses, secret)) == (addresses, secret)


@given(key=KEYS, other=KEYS, data=st.binary(max_size=200), at=st.integers(0, 31), bit=st.integers(0, 7))
def test_what_another_signed_or_nobody_did_is_refused(key: bytes, other: bytes, data: bytes, at: int, bit: int) -> None:
    value = bytearray(elastic._signed_address(key, {"lo": [("127.0.0.1", 1)]}, b"secret"))
    foreign = [data, pickle.dumps({"lo": 1}), elastic._signed_address(other + b"x", {}, b"")]
    value[at] ^= 1 << bit
    for one in (*foreign, bytes(value)):
        with pytest.raises(ForeignMessage):
            elastic._address(key, one)


def test_ranks_of_other_launchers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(elastic.ADDRESS, "127.0.0.1")
    with pytest.raises(UnavailableError, match="use gapsmith train"):
        lock_rank()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UnavailableError, match="use gapsmith train"):
        TorchGroup()
