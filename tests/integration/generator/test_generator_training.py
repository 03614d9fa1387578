"""Training on the real data: a few steps, a resumed run, a snapshot in between, a card that says what it is."""

import json
from pathlib import Path

import pytest

from gapsmith.core.errors import CheckpointError
from gapsmith.data import qm9
from gapsmith.generator import network, train
from gapsmith.generator.data import load_split
from gapsmith.generator.generator import Generator
from gapsmith.training.loop import TrainingPlan

SMALL = {**network.default_config(), "layers": 1, "width": 16, "pair_width": 8, "heads": 2, "condition_width": 8}

pytestmark = pytest.mark.slow


def test_splits_are_disjoint_and_nearly_all_molecules_have_bonds():
    sizes = {name: len(load_split(name)) for name in ("second", "validation", "test")}
    whole = qm9.edm_halves(130_831)
    for name, count in sizes.items():
        assert 0.985 * len(whole[name]) < count < len(whole[name])
    validation = load_split("validation")
    assert validation.sizes.max() == 9
    assert (validation.bonds == validation.bonds.transpose(0, 2, 1)).all()


def test_run_resumes_and_leaves_weights_with_a_card(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no saved state"):
        train.export_snapshot(tmp_path, tmp_path / "early.safetensors", batch_size=4, config=SMALL)
    train.run(tmp_path, TrainingPlan(steps=2), batch_size=4, config=SMALL)
    weights = train.run(tmp_path, TrainingPlan(steps=5), batch_size=4, config=SMALL)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["training"]["steps"] == 5
    assert card["training"]["molecules_seen"] == 20
    assert card["data"]["split_sha256"] == qm9.split_hash(qm9.edm_halves(130_831)["second"])
    assert card["metrics"]["loss"] > 0
    snapshot = train.export_snapshot(tmp_path, tmp_path / "snapshot.safetensors", batch_size=4, config=SMALL)
    assert snapshot.read_bytes() == weights.read_bytes()
    generator = Generator.load(weights)
    assert generator.sizes.totals.sum() == card["data"]["molecules"] == len(load_split("second"))
