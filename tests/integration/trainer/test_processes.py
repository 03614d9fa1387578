"""Trainings in processes of their own: one, two under Horovod, stopped, killed, crashed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from gapsmith.core.errors import CheckpointError
from gapsmith.trainer.job import Folder, Job, Progress, Result
from gapsmith.trainer.launch import StoppedError, TrainingFailedError, launch
from gapsmith.trainer.processes import Backend, horovod_problem, under_horovod, under_torch
from gapsmith.training.checkpoint import load_tensors, read_card

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
Prepare = Callable[..., tuple[Folder, Job]]


def run(
    folder: Folder,
    processes: int = 1,
    *,
    backend: Backend = "horovod",
    stopping: threading.Event | None = None,
    limit_s: float = 200.0,
) -> Result:
    return launch(
        folder,
        processes=processes,
        backend=backend,
        log=folder.path.parent / "log",
        stopping=stopping or threading.Event(),
        time_limit_s=limit_s,
    )


def ranks_of(folder: Folder) -> list[psutil.Process]:
    """Processes that train in a folder; not what launches them, whose command line ends with theirs."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if line[1:3] == ["-m", "gapsmith.trainer.run"] and str(folder.path) in line:
            found.append(process)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


@pytest.fixture(params=["horovod", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    """What several processes work together with."""
    if request.param == "horovod":
        request.getfixturevalue("horovod")
    return str(request.param)


def test_every_operation_of_the_communicator(backend: Backend, tmp_path: Path) -> None:
    rank = [sys.executable, str(HERE / "ranks.py")]
    done = subprocess.run(
        under_horovod(rank, 2, "lo", tmp_path) if backend == "horovod" else under_torch(rank, 2, tmp_path),
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("has checked everything") == 2


def test_two_processes_train_the_same_model_as_one(prepare: Prepare, backend: Backend) -> None:
    one, job_of_one = prepare("one")
    two, job_of_two = prepare("two", processes=2)
    alone, together = run(one), run(two, 2, backend=backend)
    assert len(alone.fingerprints) == 1
    assert len(together.fingerprints) == 2
    assert together.fingerprints[0] == together.fingerprints[1]
    expected, got = load_tensors(job_of_one.weights), load_tensors(job_of_two.weights)
    start = load_tensors(job_of_one.parent_weights)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(got["layers.0.weight"], start["layers.0.weight"], atol=1e-3)
    assert read_card(job_of_two.weights, role="composition")["processes"] == 2
    assert ranks_of(two) == []


def test_killed_rank_ends_the_training_under_torch_alone(
    prepare: Prepare, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = prepare("killed", processes=2, steps=200)
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "0.1")

    def kill() -> None:
        wait_until(lambda: folder.progress.is_file() and len(ranks_of(folder)) >= 2)
        ranks_of(folder)[-1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    if backend == "horovod":
        assert run(folder, 2, backend=backend).steps == 200
    else:
        with pytest.raises(TrainingFailedError, match="exit code"):
            run(folder, 2, backend=backend)
    killer.join()
    assert ranks_of(folder) == []


def test_result_and_card_of_one_process(prepare: Prepare) -> None:
    folder, job = prepare("one")
    told: list[Progress] = []
    result = launch(
        folder,
        processes=1,
        log=folder.path / "log",
        stopping=threading.Event(),
        time_limit_s=400,
        on_progress=told.append,
    )
    card = read_card(job.weights, role="composition")
    assert (result.sha256, result.steps, result.processes) == (card["sha256"], 12, 1)
    assert card["labels"]["training"] == 9
    assert card["labels"]["held_out"] == 3
    assert len(card["labels"]["calculations"]) == 12
    assert card["parent"]["sha256"] == job.parent_sha256
    assert [metric.name for metric in result.judged_by] == ["gap_mae_ev", "gap_nll"]
    for metric in result.judged_by:
        assert len(result.candidate.labels[metric.name]) == len(result.live.labels[metric.name]) == 3
        assert result.candidate.base[metric.name] != result.live.base[metric.name]
    assert all(progress.steps == 12 for progress in told)
    assert "step 10/12" in (folder.path / "log").read_text()


def test_only_the_heads_learn_if_so_wanted(prepare: Prepare) -> None:
    folder, job = prepare("heads")
    job.model_copy(update={"tuned": "heads"}).write(folder.job)
    run(folder)
    before, after = load_tensors(job.parent_weights), load_tensors(job.weights)
    assert torch.equal(after["layers.0.weight"], before["layers.0.weight"])
    assert not torch.equal(after["layers.2.weight"], before["layers.2.weight"])
    assert read_card(job.weights, role="composition")["tuned"] == "heads"


def test_stopped_training_saves_and_goes_on_to_the_same_end(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, whole_job = prepare("whole", steps=30)
    run(whole)
    folder, job = prepare("stopped", steps=30)
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "1.0")
    stopping = threading.Event()

    def stop() -> None:
        wait_until(folder.progress.is_file)
        stopping.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(StoppedError):
        run(folder, stopping=stopping)
    stopper.join()
    assert ranks_of(folder) == []
    assert 5 <= json.loads((folder.state / "state.json").read_text())["step"] < 30
    assert not job.weights.exists()
    monkeypatch.delenv("TORCH_COMPOSITION_STEP_S")
    run(folder)
    expected, got = load_tensors(whole_job.weights), load_tensors(job.weights)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_training_ends_when_its_service_is_killed(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = prepare("orphan", steps=1000)
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "1.0")
    service = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, threading; from pathlib import Path; from gapsmith.trainer.job import Folder;"
            "from gapsmith.trainer.launch import launch; folder = Folder(Path(sys.argv[1]));"
            "launch(folder, processes=1, log=folder.path / 'log', stopping=threading.Event(), time_limit_s=400)",
            str(folder.path),
        ]
    )
    try:
        wait_until(folder.progress.is_file)
        assert len(ranks_of(folder)) == 1
    finally:
        service.send_signal(signal.SIGKILL)
        service.wait()
    wait_until(lambda: ranks_of(folder) == [])


def test_crash_and_time_limit_are_told_with_the_log(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, job = prepare("crash")
    job.model_copy(update={"parent_sha256": "0" * 64}).write(folder.job)
    with pytest.raises(TrainingFailedError, match="is another model than the one registered"):
        run(folder)
    job.write(folder.job)
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "60")
    with pytest.raises(TrainingFailedError, match="ended after 5 s"):
        run(folder, limit_s=5.0)
    assert ranks_of(folder) == []


def test_horovod_that_cannot_be_loaded_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "horovod").mkdir()
    (tmp_path / "horovod" / "__init__.py").write_text("raise ImportError('undefined symbol: _ZN5torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    problem = horovod_problem()
    assert problem is not None
    assert "undefined symbol: _ZN5torch" in problem
    assert "make horovod" in problem


def test_damaged_parent_is_refused(prepare: Prepare) -> None:
    from gapsmith.trainer.candidate import Parent

    _, job = prepare("damaged")
    job.parent_weights.write_bytes(job.parent_weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged or half-written"):
        Parent.of(job)
