"""The distributed store among real processes: equality, each rank's share of memory, ranks that are killed or stopped."""

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gapsmith.datastore.ragged import Ragged, offsets_of
from gapsmith.datastore.shards import write_shards

pytestmark = pytest.mark.serial

SCRIPT = Path(__file__).with_name("rank_of_store.py")
SAMPLES, SHARD, WAIT_S, TIMEOUT_S = 20_000, 1000, 120.0, 8.0
MIB = 1 << 20


class Rank:
    """A process that was told to be one."""

    def __init__(self, *words: str, token: str) -> None:
        environment = {**os.environ, "GAPSMITH_DATASTORE_TOKEN": token, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or []:
            self._answers.put(line)

    def ask(self, indices: np.ndarray) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(indices.tolist()) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._answers.get(timeout=WAIT_S))
        return found

    def fetch(self, indices: np.ndarray) -> dict[str, Any]:
        self.ask(indices)
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def whole() -> Ragged:
    """20,000 samples, 38 MB, so that memory can be told from noise."""
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 60, SAMPLES)
    atoms = int(sizes.sum())
    return Ragged.of(
        offsets_of(sizes),
        per_sample={"targets": draw.standard_normal((SAMPLES, 10))},
        per_atom={
            "numbers": draw.integers(1, 10, atoms).astype(np.uint8),
            "coordinates": draw.standard_normal((atoms, 3)),
            "forces": draw.standard_normal((atoms, 3)),
        },
    )


@pytest.fixture(scope="module")
def shards(whole: Ragged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("processes"), [whole], SHARD).folder


Start = Callable[..., list[Rank]]


@pytest.fixture
def start(shards: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts ranks with one token, or with those given, and ends them."""
    running: list[Rank] = []

    def started(ranks: int, tokens: list[str] | None = None, **settings: Any) -> list[Rank]:
        for rank in range(ranks):
            words = (
                str(shards),
                str(tmp_path),
                str(rank),
                str(ranks),
                json.dumps({"timeout_s": TIMEOUT_S, **settings}),
            )
            running.append(Rank(*words, token=(tokens or ["t" * 32] * ranks)[rank]))
        return running

    yield started
    for rank in running:
        rank.end()


def digest(samples: Ragged) -> str:
    return hashlib.sha256(b"".join(samples.views())).hexdigest()


def test_ranks_hold_their_share_and_give_the_same_samples(start: Start, whole: Ragged) -> None:
    ranks = start(3, cache_bytes=100_000)
    shares = [rank.answer() for rank in ranks]
    assert [share["samples"] for share in shares] == [7000, 7000, 6000]
    assert sum(share["bytes"] for share in shares) == whole.nbytes
    for share in shares:
        assert share["used"] < share["bytes"] + 3 * MIB < whole.nbytes / 2
    draw = np.random.default_rng(1)
    for _ in range(10):
        asked = [draw.integers(0, SAMPLES, int(draw.integers(1, 500))) for _ in ranks]
        for rank, indices in zip(ranks, asked, strict=True):  # all at once, each serving the others
            rank.ask(indices)
        for rank, indices in zip(ranks, asked, strict=True):
            assert rank.answer()["digest"] == digest(whole.take(indices))
    everything = draw.permutation(SAMPLES)
    assert ranks[1].fetch(everything)["digest"] == digest(whole.take(everything))


def test_a_killed_or_stopped_rank_is_an_error_in_bounded_time(start: Start, whole: Ragged) -> None:
    ranks = start(3)
    for rank in ranks:
        rank.answer()
    some = np.arange(0, SAMPLES, 100)
    assert "digest" in ranks[0].fetch(some)
    ranks[1].process.kill()
    ranks[1].process.wait(120)
    answer = ranks[0].fetch(some)
    assert answer["kind"] == "UnavailableError"
    assert "lost rank 1 at 127.0.0.1:" in answer["error"]
    assert answer["took_s"] < 3 * TIMEOUT_S
    owned = some[some // SHARD % 3 != 1]
    assert ranks[0].fetch(owned)["digest"] == digest(whole.take(owned))
    os.kill(ranks[2].process.pid, signal.SIGSTOP)
    answer = ranks[0].fetch(owned)
    assert "lost rank 2 at 127.0.0.1:" in answer["error"]
    assert f"silent for {TIMEOUT_S:g} s" in answer["error"]
    assert answer["took_s"] < 4 * TIMEOUT_S
    os.kill(ranks[2].process.pid, signal.SIGCONT)
    assert ranks[0].fetch(owned)["digest"] == digest(whole.take(owned))  # it is back


@pytest.mark.parametrize("settings", [{"width": 2}, {"on_loss": "disk"}])
def test_another_replica_or_the_disk_takes_over_from_a_killed_rank(
    start: Start, whole: Ragged, settings: dict[str, Any]
) -> None:
    ranks = start(4, **settings)
    for rank in ranks:
        rank.answer()
    everything = np.random.default_rng(2).permutation(SAMPLES)
    ranks[0].ask(everything)
    ranks[1].process.kill()  # while it serves, or before
    assert ranks[0].answer()["digest"] == digest(whole.take(everything))
    answer = ranks[0].fetch(everything[:500])
    assert answer["digest"] == digest(whole.take(everything[:500]))
    assert answer["lost"] == [1]
    assert answer["took_s"] < TIMEOUT_S


def test_a_rank_with_a_wrong_token_is_served_nothing(start: Start, whole: Ragged) -> None:
    ranks = start(2, tokens=["t" * 32, "u" * 32])
    for rank in ranks:
        rank.answer()
    first, second = np.arange(10), np.arange(SHARD, SHARD + 10)
    for rank, own, other in ((ranks[0], first, second), (ranks[1], second, first)):
        answer = rank.fetch(other)
        assert answer["kind"] == "InputError"
        assert "refused the token" in answer["error"]
        assert answer["took_s"] < TIMEOUT_S
        assert rank.fetch(own)["digest"] == digest(whole.take(own))
