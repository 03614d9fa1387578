"""``gapsmith train``: what it leaves, stopped and resumed, several processes of which one is killed, refusals."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from gapsmith.training import metrics
from gapsmith.training.checkpoint import load_tensors, read_card

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def command(directory: Path, *options: str) -> list[str]:
    """The command line that trains the test's kind of model."""
    return [sys.executable, "-m", "gapsmith.cli.main", "train", "composition", "-d", str(directory), *options]


def run(directory: Path, *options: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    done = subprocess.run(command(directory, *options), capture_output=True, text=True, timeout=500, check=False)
    log = (directory / "log").read_text() if (directory / "log").is_file() else ""
    assert done.returncode == code, done.stdout + done.stderr + log
    return done


def ranks_of(directory: Path) -> list[psutil.Process]:
    """Processes that train in a directory, oldest first."""
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        line = process.info["cmdline"] or []
        if line[1:4] == ["-m", "gapsmith.trainer.base", str(directory)]:
            found.append(process)
    return sorted(found, key=lambda process: process.info["create_time"])


def wait_until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def step_of(directory: Path) -> int:
    """How far a training is."""
    try:
        return int(json.loads((directory / "progress.json").read_text())["step"])
    except (OSError, ValueError):
        return 0


def same(left: Path, right: Path) -> bool:
    """Whether two files of weights are equal to the bit."""
    mine, other = load_tensors(left), load_tensors(right)
    return all(torch.equal(tensor, other[name]) for name, tensor in mine.items())


def test_weights_card_and_metrics(tmp_path: Path) -> None:
    home = tmp_path / "run"
    said = run(home, "--steps", "150", "--set", "network.hidden=8", "--device", "cpu", "--seed", "3").stdout
    weights = home / "composition-3.safetensors"
    assert f"weights: {weights}" in said
    assert "gap_mae_ev" in said
    card = read_card(weights, role="composition")
    assert card["config"] == {"hidden": 8}
    training = card["training"]
    assert (training["steps"], training["molecules_seen"], training["processes"]) == (150, 150 * 64, 1)
    assert training["energy"]["kwh"] > 0
    assert (
        card["metrics"]["gap_mae_ev"] < 1.2
    )  # a constant misses by 1.05 eV, a network that learned nothing by far more
    points = metrics.read(home / "metrics")
    assert [point.step for point in points] == [50, 100, 150]
    assert points[-1].rate is not None
    assert points[-1].rate < (points[0].rate or 0)
    assert list((home / "metrics").glob("events.out.tfevents.*"))


def test_stopped_training_is_resumed_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, "--steps", "400")
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "0.4")
    process = subprocess.Popen(command(parts, "--steps", "400"), stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: step_of(parts) >= 50)
        (rank,) = ranks_of(parts)
        refused = run(parts, "--resume", code=5)
        assert "a training runs in" in refused.stderr
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=200)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert "--resume" in said
    assert not rank.is_running()
    assert 50 <= json.loads((parts / "state" / "state.json").read_text())["step"] < 400
    assert "holds a training: go on with it by --resume" in run(parts, "--steps", "400", code=2).stderr
    monkeypatch.delenv("TORCH_COMPOSITION_STEP_S")
    run(parts, "--resume")
    assert same(whole / "composition-0.safetensors", parts / "composition-0.safetensors")


def test_killed_rank_is_replaced_and_the_training_ends_as_if_nothing_had_happened(
    tmp_path: Path, horovod: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(alone, "--steps", "500")
    monkeypatch.setenv("TORCH_COMPOSITION_STEP_S", "0.1")
    process = subprocess.Popen(command(together, "--steps", "500", "--np", "2"), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: step_of(together) >= 50)
        first, second = ranks_of(together)
        victim = first if "HOROVOD_RANK" in first.environ() and first.environ()["HOROVOD_RANK"] == "0" else second
        victim.kill()
        log = together / "log"
        wait_until(lambda: "1 processes now" in log.read_text())
        wait_until(lambda: "2 processes now" in log.read_text())
        assert len(ranks_of(together)) == 2
        process.wait(timeout=600)
    finally:
        process.terminate()
        process.wait(120)
    assert process.returncode == 0, (together / "log").read_text()
    assert ranks_of(together) == []
    expected, got = (load_tensors(path / "composition-0.safetensors") for path in (alone, together))
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name].float(), tensor.float(), rtol=2e-3, atol=2e-3)
    assert read_card(together / "composition-0.safetensors", role="composition")["training"]["steps"] == 500


def test_a_full_disk_is_one_sentence_and_the_training_goes_on_when_there_is_room(tmp_path: Path) -> None:
    home = tmp_path / "run"

    def told(most: int, *options: str) -> str:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
        done = subprocess.run(
            command(home, *options), preexec_fn=limit, capture_output=True, text=True, timeout=500, check=False
        )
        assert "Traceback" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "File too large" in line
        return line

    assert f"{home / 'assignment.json'} cannot be written" in told(100, "--steps", "20")
    assert not (home / "assignment.json").exists()
    assert "state-20.safetensors cannot be written" in told(3000, "--steps", "20")
    assert not list(home.rglob("*.safetensors"))
    run(home, "--resume")
    assert read_card(home / "composition-0.safetensors", role="composition")["training"]["steps"] == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say when to stop"),
        (["--steps", "5", "--set", "training.rate=3"], "there is no such key"),
        (["--steps", "5", "--set", "training.batch_size=none"], "batch_size must be a number"),
        (["--time-budget", "soon"], "--time-budget soon"),
        (["--resume"], "holds no training to resume"),
        (["--steps", "5", "--config", "missing.yaml"], "missing.yaml: no such file"),
        (["--steps", "5", "--np", "2", "--backend", "single"], "trains in one process"),
        (["--steps", "5", "--np", "2", "--hosts", "a:2"], "at least two machines"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    from click.testing import CliRunner

    from gapsmith.core.errors import GapsmithError
    from gapsmith.trainer.cli import train

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(train, ["composition", *options])
    assert isinstance(done.exception, GapsmithError)
    assert message in str(done.exception)
    assert not (tmp_path / "runs" / "composition" / "assignment.json").exists()
