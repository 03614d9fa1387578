"""Everything at once: servers, services, a campaign, and a training of two processes under each back-end.

Whatever listens does so on loopback and lets nobody in who has no secret; a pickle sent to it is not opened.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis
import yaml
from listening import Bomb, attack, listeners, on_loopback

from gapsmith.stack import dashboard

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(1200)]

CAMPAIGN = {
    "name": "watched",
    "target": {"value": 7.8, "tolerance": 0.4},
    "budget": {"dft_jobs": 50, "wall_time": "2h"},
    "retraining": {"enabled": False},
}
BACKENDS = ("horovod", "torch")


def gapsmith(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gapsmith.cli.main", *arguments]


def ours(home: Path) -> Iterator[psutil.Process]:
    """Every process of a home folder: by its environment or its working folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("GAPSMITH_HOME") == str(home) or process.cwd().startswith(str(home)):
                yield process


def wait_for(path: Path, seconds: float = 400.0) -> None:
    end = time.monotonic() + seconds
    while not path.is_file():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.2)


@pytest.fixture
def home(service_folder: Path, horovod: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder in which all of it runs."""
    home = service_folder / "all"
    monkeypatch.setenv("GAPSMITH_HOME", str(home))
    monkeypatch.setenv("GAPSMITH_DASHBOARD_PORT", "0")
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "0.1")
    for name in ("POSTGRES_URL", "KAFKA_BOOTSTRAP", "CELERY_BROKER_URL"):
        monkeypatch.delenv(f"GAPSMITH_{name}", raising=False)
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump(CAMPAIGN))
    started: list[subprocess.Popen[bytes]] = []
    try:
        subprocess.run(gapsmith("up"), check=True, timeout=400)
        commands = [gapsmith("run", str(file), "--results", str(tmp_path / "results"))]
        for backend in BACKENDS:
            options = ["--steps", "100000", "--np", "2", "--backend", backend, "--device", "cpu", "--threads", "1"]
            commands.append(gapsmith("train", "composition", "-d", str(tmp_path / backend), *options))
        for command in commands:
            with (tmp_path / f"{len(started)}.log").open("wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log))
        for backend in BACKENDS:
            wait_for(tmp_path / backend / "progress.json")
        yield home
        assert [process.poll() for process in started] == [None] * 3
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(120)
        subprocess.run(gapsmith("down"), check=True, timeout=400)


def test_every_listener_is_on_loopback_and_lets_no_stranger_in(home: Path, tmp_path: Path) -> None:
    found = listeners(ours(home))
    kinds = {address: _kind(process) for address, process in found.items()}
    assert {"postgres", "kafka", "celery", "dashboard", "launcher", "rank"} <= set(kinds.values()), kinds
    assert [address for address in found if not on_loopback(address[0])] == []
    mark = tmp_path / "opened"
    for address, kind in kinds.items():
        answers = attack(address, Bomb(mark))
        assert not mark.exists(), kind
        if kind == "rank":
            assert set(answers) <= {b""}, address  # Horovod's listeners and Gloo's say nothing to strangers
        elif kind in CHECKS:
            CHECKS[kind](*address)
    time.sleep(3)
    assert not mark.exists()
    url = dashboard.url(home)
    assert url is not None
    assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
    for backend in BACKENDS:
        assert "processes now" not in (tmp_path / backend / "log").read_text()


def _kind(process: psutil.Process) -> str:
    line = process.cmdline()
    programs = {"postgres": "postgres", "tansu": "kafka", "valkey-server": "celery"}
    if process.name() in programs:
        return programs[process.name()]
    if "gapsmith.trainer.elastic" in line:
        return "launcher"
    return "rank" if "gapsmith.trainer.base" in line else "dashboard" if "dashboard" in line else " ".join(line)


def _postgres(host: str, port: int) -> None:
    for user in ("postgres", "gapsmith", os.environ.get("USER", "root")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://{user}:guess@{host}:{port}/gapsmith", connect_timeout=60)


def _valkey(host: str, port: int) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host, port, socket_timeout=60).rpush("celery", "job")


def _dashboard(host: str, port: int) -> None:
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
        assert client.post("/api/v1/campaigns/watched/stop").status_code == 401
        assert client.post("/campaigns/watched/state", data={"state": "stopped"}).status_code in (401, 403)


def _launcher(host: str, port: int) -> None:
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
        for path in ("/rank_and_size/localhost:0", f"/guess:{port}/rank_and_size/localhost:0", "/", "//"):
            for method in ("GET", "PUT", "DELETE", "HEAD"):
                assert client.request(method, path).status_code == 403


CHECKS = {"postgres": _postgres, "celery": _valkey, "dashboard": _dashboard, "launcher": _launcher}
