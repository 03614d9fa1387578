"""While several processes train: where they listen, what a stranger's pickle does, and what other users can read of them."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from listening import Bomb, attack, family, listeners, on_loopback

from gapsmith.stack.processes import wait_until
from gapsmith.trainer.processes import Backend, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECRETS = {
    "GAPSMITH_POSTGRES_URL": "postgresql://me:db-password-8c1f@127.0.0.1:1/none",
    "GAPSMITH_CELERY_BROKER_URL": "redis://:broker-password-2d90@127.0.0.1:1/0",
    "GAPSMITH_KAFKA_OPTIONS": '{"sasl_plain_password": "kafka-password-77aa"}',
    "GAPSMITH_DATASTORE_TOKEN": "datastore-token-5b5b5b5b",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-19e4",
    "MY_TOKEN": "own-token-c0de",
}


@pytest.fixture(params=["horovod", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "horovod":
        request.getfixturevalue("horovod")
    return "horovod" if request.param == "horovod" else "torch"


@pytest.fixture
def training(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[bytes]"]:
    """Two processes that train, as ``gapsmith train`` starts them, with secrets in its environment."""
    for name, value in (SECRETS | {"TORCH_COMPOSITION_STEP_S": "0.05"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GAPSMITH_POSTGRES_URL")  # the command would connect to it
    options = ["-d", str(tmp_path / "run"), "--steps", "100000", "--np", "2", "--backend", backend, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gapsmith.cli.main", "train", "composition", *options], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 240
        while not (tmp_path / "run" / "progress.json").is_file():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def step_of(run: Path) -> int:
    """How far the training is."""
    return int(json.loads((run / "progress.json").read_text())["step"])


def test_nothing_listens_beyond_loopback_and_no_pickle_is_opened(
    training: "subprocess.Popen[bytes]", backend: Backend, tmp_path: Path
) -> None:
    ours = family(psutil.Process(training.pid))
    found = listeners(ours)
    assert [address for address in found if not on_loopback(address[0])] == []
    launchers = {address for address, process in found.items() if "gapsmith.trainer.elastic" in process.cmdline()}
    assert bool(launchers) == (backend == "horovod")  # torch's ranks find each other by a file
    mark = tmp_path / "opened"
    for address in found:
        answers = attack(address, Bomb(mark))
        if address in launchers:
            assert {answer[:13] for answer in answers if answer.startswith(b"HTTP/1")} == {b"HTTP/1.0 403 "}
    assert not mark.exists()
    log = (tmp_path / "run" / "log").read_text()
    assert "processes now" not in log  # no rank was lost by it
    reached = step_of(tmp_path / "run")
    assert wait_until(lambda: step_of(tmp_path / "run") > reached, 240.0)  # they train on
    assert training.poll() is None, log
    assert not mark.exists()


def test_other_users_read_no_variable_of_a_training(training: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    ours = family(psutil.Process(training.pid))
    lines = "\n".join(" ".join(process.cmdline()) for process in ours)
    for value in (*SECRETS.values(), os.environ["PATH"], "RENDEZVOUS"):
        assert value not in lines
    ranks = [process for process in ours if process.cmdline()[1:3] == ["-m", "gapsmith.trainer.base"]]
    assert len(ranks) == 2
    for rank in ranks:
        assert not SECRETS.keys() & rank.environ().keys()
    shared = tmp_path / "run" / "rendezvous"
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700
    for file in shared.iterdir():
        assert (
            stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 or file.name == "store"
        )  # in a folder that nobody can open


def test_trainings_get_the_variables_that_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    found = environment("eth7", threads=3)
    assert not found.keys() & SECRETS.keys()
    assert (found["NCCL_DEBUG"], found["GLOO_SOCKET_IFNAME"], found["OMP_NUM_THREADS"]) == ("INFO", "eth7", "3")
    assert found["PATH"] == os.environ["PATH"]
