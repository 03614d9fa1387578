"""The surrogate's base training with its data in every process, spread over two processes, and read from disk."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gapsmith.surrogate.base import build
from gapsmith.surrogate.config import FOLDER
from gapsmith.training.checkpoint import load_tensors, read_card

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = [
    f"--config={FOLDER / 'evaluator.yaml'}",  # QM9 alone
    "--set=trunk.layers=1",
    "--set=trunk.features=16",
    "--set=trunk.vector_features=8",
    "--set=trunk.latent=16",
    "--set=ensemble.members=2",
    "--set=ensemble.bootstrap=false",  # stores draw their weights anew
    "--set=training.batch_size=24",
    "--molecules=600",
    "--steps=30",
]


def train(directory: Path, *options: str) -> Path:
    """Train a small network on some of QM9; its weights."""
    line = [sys.executable, "-m", "gapsmith.cli.main", "train", "surrogate", "-d", str(directory), *SMALL, *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr + (directory / "log").read_text()
    return directory / "surrogate-0.safetensors"


def test_where_the_data_lies_changes_nothing(tmp_path: Path, horovod: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(tmp_path / "memory")
    spread = train(tmp_path / "distributed", "--np=2", "--storage=distributed")
    disk = train(tmp_path / "disk", "--storage=disk")
    card = read_card(spread, role="surrogate")
    expected = load_tensors(whole)
    trained = [name for name, _ in build(card["config"]).named_parameters()]
    for path in (spread, disk):
        got = load_tensors(path)
        for name in trained:
            torch.testing.assert_close(
                got[name].float(), expected[name].float(), rtol=0.02, atol=0.005, msg=f"{path} {name}"
            )
    assert [(one["name"], one["molecules"]) for one in card["sources"]] == [("qm9", 600)]
    assert card["training"]["processes"] == 2
