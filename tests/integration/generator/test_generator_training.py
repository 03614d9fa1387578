"""Training on the real data: a few steps, a resumed run, given weights, a card that says what it is."""

import json
from pathlib import Path

import pytest

from gapsmith.data import qm9
from gapsmith.generator import network
from gapsmith.generator.base import default_config
from gapsmith.generator.data import load_split
from gapsmith.generator.generator import Generator
from gapsmith.generator.vocabulary import Vocabulary
from gapsmith.trainer.assignment import Assignment, Paths
from gapsmith.trainer.base import run

SMALL = {**network.default_config(), "layers": 1, "width": 16, "pair_width": 8, "heads": 2, "condition_width": 8}
VOCABULARY = Vocabulary.of(SMALL)

pytestmark = pytest.mark.slow


def test_splits_are_disjoint_and_nearly_all_molecules_have_bonds() -> None:
    sizes = {name: len(load_split(name, VOCABULARY)) for name in ("second", "validation", "test")}
    whole = qm9.edm_halves(130_831)
    for name, count in sizes.items():
        assert 0.985 * len(whole[name]) < count < len(whole[name])
    validation = load_split("validation", VOCABULARY)
    assert validation.sizes.max() == 9
    assert (validation.bonds == validation.bonds.transpose(0, 2, 1)).all()


def trained(folder: Path, steps: int) -> Path:
    """Weights after so many steps, going on with what the folder holds."""
    paths = Paths(folder)
    config = default_config()
    config = {"network": SMALL, "training": {**config["training"], "batch_size": 4}}
    Assignment(architecture="masked_diffusion", config=config, steps=steps).write(paths)
    assert run(Assignment.read(paths), paths)
    return paths.weights("generator", 0)


def test_run_resumes_and_leaves_weights_with_a_card(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    weights = trained(tmp_path, 5)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["training"]["steps"] == 5
    assert card["training"]["molecules_seen"] == 20
    (about,) = card["sources"]
    assert (about["name"], about["split"], about["licence"]) == ("qm9", "second", "CC0-1.0")
    assert card["metrics"]["loss"] > 0
    generator = Generator.load(weights)
    assert generator.sizes.totals.sum() == about["molecules"] == len(load_split("second", VOCABULARY))


def test_training_begins_with_given_weights(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", 2)
    paths = Paths(tmp_path / "second")
    Assignment(architecture="masked_diffusion", steps=1, start=str(first)).write(paths)
    assert run(Assignment.read(paths), paths)
    card = json.loads(paths.weights("generator", 0).with_suffix(".json").read_text())
    assert card["config"] == SMALL
    assert card["begun_from"]["sha256"] == json.loads(first.with_suffix(".json").read_text())["sha256"]
