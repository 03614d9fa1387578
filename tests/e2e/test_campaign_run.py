"""The whole loop as its user runs it: one command, every service its own process, all servers real."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from gapsmith.stack.machine import service_pid
from gapsmith.stack.stack import EmbeddedStack

pytestmark = [pytest.mark.serial, pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(1800)]

CAMPAIGN = {
    "name": "tiny",
    "target": {"value": 7.8, "tolerance": 0.4},  # many molecules hit: the test is of the loop, not of luck
    "constraints": {"heavy_atoms": [2, 4], "sa_score": 9.0},
    "budget": {"dft_jobs": 4, "wall_time": "30m"},
    "acquisition": {"pool": 6, "diversity": 0.3},
    "exploration": {"regrown_share": 0.5, "mask_fraction": 0.5, "batch": 16},
    "retraining": {"every_labels": 6, "steps": 3},
    "seed": 3,
}
SERVICES = ("generator", "surrogate", "coordinator", "dft_queue", "dft_worker", "trainer")


@pytest.fixture
def home(service_folder: Path) -> Iterator[Path]:
    folder = service_folder / f"e2e-{uuid4().hex[:6]}"
    yield folder
    EmbeddedStack(folder).down()


def gapsmith(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "gapsmith.cli.main", *words]


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GAPSMITH_")}
    return {
        **clean,
        "GAPSMITH_HOME": str(home),
        "GAPSMITH_CACHE": os.environ.get("GAPSMITH_CACHE", str(Path.home() / ".cache" / "gapsmith")),
        "GAPSMITH_LEASE_S": "10",
        "GAPSMITH_HEARTBEAT_S": "2",
        "OMP_NUM_THREADS": "1",
    }


def write(folder: Path, **changes: object) -> Path:
    file = folder / "campaign.yaml"
    file.write_text(yaml.safe_dump({**CAMPAIGN, **changes}))
    return file


def start(home: Path, file: Path, folder: Path) -> "subprocess.Popen[bytes]":
    log = (folder / "run.log").open("ab")
    return subprocess.Popen(
        gapsmith(home, "run", str(file), "--results", str(folder / "results")),
        env=environment(home),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def rows(home: Path, query: str) -> list[dict[str, object]]:
    addresses = EmbeddedStack(home).up()
    with psycopg.connect(addresses.postgres_url, row_factory=dict_row, connect_timeout=300) as connection:
        return connection.execute(query).fetchall()


def finish(process: "subprocess.Popen[bytes]", folder: Path, within_s: float = 1200) -> str:
    try:
        code = process.wait(within_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"the run does not end:\n{(folder / 'run.log').read_text()[-4000:]}")
    text = (folder / "run.log").read_text()
    assert code == 0, text[-4000:]
    return text


def check_bookkeeping(home: Path, jobs: int = 4) -> None:
    """Nothing lost, nothing computed twice."""
    (campaign,) = rows(home, "SELECT state, stop_reason FROM campaigns")
    assert campaign["state"] == "finished", campaign
    triage = rows(home, "SELECT k.* FROM candidates c JOIN calculations k ON k.id = c.triage_id")
    assert len(triage) == jobs
    assert all(row["state"] in ("done", "failed") for row in triage)
    assert not rows(home, "SELECT 1 FROM tasks WHERE state = 'running'")
    finished = rows(
        home,
        """SELECT envelope->'data'->>'calculation_id' AS id, count(*) AS n FROM outbox
           WHERE type = 'gapsmith.calculation.finished.v1' AND envelope->'data'->>'state' <> 'cancelled'
           GROUP BY 1""",
    )  # a queued one may be displaced, which cancels it, and be chosen again later
    assert {str(row["id"]) for row in triage} <= {str(row["id"]) for row in finished}
    assert all(row["n"] == 1 for row in finished)
    # an attempt that was not lost ended its calculation: nothing was computed, thrown away and computed again
    assert not rows(home, "SELECT 1 FROM calculations WHERE state = 'done' AND attempts <> losses + 1")


def test_from_an_empty_folder_to_certified_molecules(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path, budget={"dft_jobs": 12, "wall_time": "30m"})
    text = finish(start(home, file, tmp_path), tmp_path)
    check_bookkeeping(home, jobs=12)
    assert "tiny finished" in text
    labelled = rows(home, "SELECT * FROM candidates WHERE state IN ('labelled', 'certified')")
    assert labelled
    assert all(row["label_value"] is not None for row in labelled)
    assert any(row["certified_value"] is not None for row in labelled)
    (training,) = rows(home, "SELECT state FROM tasks WHERE service = 'trainer' ORDER BY created_at LIMIT 1")
    judged = rows(home, "SELECT verdict FROM models WHERE role = 'surrogate' AND parent_id IS NOT NULL")
    if training["state"] == "done":  # a campaign ends without waiting for one that still runs
        assert judged
    assert all(model["verdict"] for model in judged)
    results = tmp_path / "results"
    with (results / "hits.csv").open() as table:
        hits = list(csv.DictReader(table))
    assert hits
    assert all(7.4 <= float(hit["gap_ev"]) <= 8.2 for hit in hits)
    assert (results / "hits.sdf").read_text().count("$$$$") == len(hits)
    assert (results / "report.md").read_text().strip()
    assert (results / "report.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in psutil.process_iter(["cmdline"]) if _is_service(p, home)]

    out = tmp_path / "labelled.json"
    command = gapsmith(home, "query", "--state", "labelled", "--gap", "0:20", "--sort", "gap", "-o", str(out))
    subprocess.run(command, env=environment(home), check=True, timeout=300)
    gaps = [row["gap_ev"] for row in json.loads(out.read_text())]
    assert gaps == sorted(gaps)
    assert len(gaps) == len(labelled)

    again = subprocess.run(
        gapsmith(home, "run", str(tmp_path / "campaign.yaml"), "--results", str(results)),
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "has ended before" in again.stdout


def test_each_service_killed_once_and_then_everything(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path, budget={"dft_jobs": 4, "wall_time": "30m"})
    process = start(home, file, tmp_path)
    wait_for(lambda: all(service_pid(home, name) for name in SERVICES), 300, tmp_path)
    killed = set()
    for name in SERVICES:
        wait_for(lambda n=name: service_pid(home, n) is not None or process.poll() is not None, 300, tmp_path)
        pid = service_pid(home, name)
        if process.poll() is not None:
            break
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        killed.add(name)
        wait_for(
            lambda n=name, p=pid: service_pid(home, n) not in (None, p) or process.poll() is not None, 300, tmp_path
        )
    assert killed == set(SERVICES), "the campaign ended before every service was killed once"
    # now all at once: the command, its services, the servers
    for running in [p for p in psutil.process_iter() if _of_home(p, home)]:
        with suppress(psutil.NoSuchProcess):  # a child whose parent was killed just before it
            running.kill()
    process.wait(120)
    finish(start(home, file, tmp_path), tmp_path)
    check_bookkeeping(home)


def test_ctrl_c_pauses_and_the_same_command_goes_on(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path, retraining={"enabled": False}, dft={"certify": False})
    process = start(home, file, tmp_path)
    wait_for(lambda: "drawn" in (tmp_path / "run.log").read_text(), 300, tmp_path)
    second = subprocess.run(
        gapsmith(home, "run", str(file)),
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert second.returncode == 2
    assert "in use by another gapsmith command" in second.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert rows(home, "SELECT state FROM campaigns") == [{"state": "paused"}]
    assert not [p for p in psutil.process_iter(["cmdline"]) if _is_service(p, home)]
    assert "tiny goes on" in finish(start(home, file, tmp_path), tmp_path)
    check_bookkeeping(home)


def wait_for(condition: object, within_s: float, folder: Path) -> None:
    assert callable(condition)
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited in vain:\n{(folder / 'run.log').read_text()[-4000:]}")
        time.sleep(0.2)


def _of_home(process: psutil.Process, home: Path) -> bool:
    try:
        return bool(process.environ().get("GAPSMITH_HOME") == str(home) or process.cwd().startswith(str(home)))
    except psutil.Error:
        return False


def _is_service(process: psutil.Process, home: Path) -> bool:
    return _of_home(process, home) and "serve" in (process.info["cmdline"] or [])
