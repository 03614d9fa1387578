"""The protocol of wanted gaps, with real molecules in the generator's place."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CheckpointError
from gapsmith.generator.evaluation import real
from gapsmith.generator.evaluation.conditional import Evaluator, score, targets

SHIPPED = Path(__file__).parents[3] / "services/surrogate/gapsmith/surrogate/weights/surrogate-0.safetensors"


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator.load(SHIPPED)


def test_the_gap_of_one_molecule(evaluator: Evaluator) -> None:
    index = int(real.split()["validation"][0])
    truth = float(real.data().properties["gap_ev"][index])
    assert abs(evaluator.gap_ev(real.molecule(index)) - truth) < 0.5


def test_targets_are_gaps_of_the_generators_half() -> None:
    asked = targets(500, 3)
    assert len(asked) == 500
    assert np.isin(asked, real.split()["second"]).all()
    assert not np.isin(asked, real.split()["first"]).any()
    assert (targets(500, 3) == asked).all()
    assert (targets(500, 4) != asked).any()
    assert len(set(asked.tolist())) == 500


@pytest.mark.slow
def test_real_molecules_reach_the_floor_and_others_do_not(evaluator: Evaluator) -> None:
    asked = targets(120, 0)
    molecules = [real.molecule(int(index)) for index in asked]
    perfect, scores = score(evaluator, asked, molecules, range(len(asked)), Counter())
    assert perfect.scored == perfect.targets == 120
    assert perfect.mae_ev == perfect.floor_ev == perfect.mae_failures_random_ev
    assert perfect.floor_ev < 0.2
    assert 1.1 < perfect.random_ev < 1.8
    assert 0.6 < perfect.size_only_ev < 1.1
    assert len(scores.gap_ev) == 120
    backwards, _ = score(evaluator, asked, molecules, range(len(asked))[::-1], Counter())
    assert backwards.mae_ev > 1.0
    assert backwards.floor_ev == perfect.floor_ev


def test_failures_are_counted_and_cost(evaluator: Evaluator) -> None:
    asked = targets(40, 1)
    molecules = [real.molecule(int(index)) for index in asked[:30]]
    alien = molecules[7]
    molecules[7] = Molecule(np.full(len(alien), 14, dtype=np.uint8), alien.coordinates, alien.charges, alien.bonds)
    found, scores = score(evaluator, asked, molecules, range(30), Counter(valence=10))
    assert found.failed == {"valence": 10, "evaluator": 1}
    assert found.scored == 29
    error = np.abs(scores.gap_ev - scores.wanted_ev)
    assert found.mae_ev == pytest.approx(error.mean(), abs=1e-4)
    assert found.mae_failures_random_ev == pytest.approx((error.sum() + 11 * found.random_ev) / 40, abs=2e-4)


def test_independence_is_read_off_the_card(evaluator: Evaluator) -> None:
    assert not evaluator.independent
    card = {"sources": [{"name": "qm9", "split": "first"}]}
    assert Evaluator(evaluator.trainable, evaluator.model, card).independent
    card["sources"].append({"name": "qm9_gfn2", "split": "train"})
    assert not Evaluator(evaluator.trainable, evaluator.model, card).independent


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors is missing"):
        Evaluator.load(tmp_path / "nothing.safetensors")
