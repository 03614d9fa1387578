"""Evaluation of weights: numbers of the right sets and heads, a picture, and a table."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from model_cards import as_role

from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import ROLE, sources
from gapsmith.surrogate.cli import surrogate
from gapsmith.surrogate.evaluate import evaluate
from gapsmith.surrogate.inference import batches
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.trainable import build
from gapsmith.training.checkpoint import save_model


@pytest.fixture
def weights(tmp_path: Path, small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random weights, and made-up sets in place of QM9 and GFN2-xTB."""
    torch.manual_seed(0)
    config = small.configuration()
    save_model(tmp_path / "w.safetensors", build(config), **as_role(ROLE), config=config, card={})
    sets = {"qm9": small.labelled(30), "qm9_gfn2": None, "gfn2": small.labelled(12, forces=True), "outside_qm9": None}
    monkeypatch.setattr(sources, "load", lambda name, split, seen=False: sets[name])
    return tmp_path / "w.safetensors"


def test_every_head_is_measured_where_there_are_labels(weights: Path, small: SimpleNamespace) -> None:
    told: list[tuple[str, int, int]] = []
    extra = small.labelled(4, seed=5).only(("gap",))
    found = evaluate(weights, labels={"PBE0 [triage 1]": extra}, on_progress=lambda *x: told.append(x))
    assert list(found.sets) == ["dft_geometry", "xtb", "campaigns, PBE0 [triage 1]"]
    assert told == [("dft_geometry", 30, 30), ("xtb", 12, 12), ("campaigns, PBE0 [triage 1]", 4, 4)]
    heads = found.sets["dft_geometry"].heads
    assert set(heads) == {
        "homo", "lumo", "gap", "dipole", "polarizability", "atomization_energy", "mulliken_charge",
    }  # fmt: skip
    some: Molecules = small.labelled(30)
    geometries = [
        (some.numbers[a:b], some.coordinates[a:b]) for a, b in zip(some.offsets, some.offsets[1:], strict=False)
    ]
    predicted = Predictor.load(weights).predict(geometries)
    assert heads["gap"].numbers()["mae_ev"] == pytest.approx(np.abs(predicted.mean_ev - some.target("gap")).mean())
    assert heads["mulliken_charge"].numbers()["labels"] == len(some.numbers)
    assert set(found.sets["xtb"].heads) == {"gfn2_gap", "gfn2_energy"}
    assert found.sets["xtb"].forces_mae_ev_per_angstrom == pytest.approx(0.8, abs=0.2)  # of normal numbers
    assert set(found.sets["campaigns, PBE0 [triage 1]"].heads) == {"gap"}
    json.dumps(found.numbers(), allow_nan=False)


@pytest.mark.slow
def test_the_command_prints_and_writes(weights: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        surrogate,
        ["--weights", str(weights), "--threads", "1", "--limit", "10", "-o", str(tmp_path / "out")],
        catch_exceptions=False,
    )
    assert "dft_geometry: 10 molecules" in result.output
    assert "gfn2_forces" in result.output
    numbers = json.loads((tmp_path / "out" / "surrogate.json").read_text())
    assert numbers["sets"]["dft_geometry"]["heads"]["gap"]["labels"] == 10
    assert (tmp_path / "out" / "surrogate.png").read_bytes().startswith(b"\x89PNG")


def test_batches_are_bounded_and_complete(small: SimpleNamespace) -> None:
    some = small.labelled(50)
    found = list(batches(some, 100))
    assert sorted(np.concatenate(found).tolist()) == list(range(50))
    assert all(len(chosen) == 1 or (some.sizes[chosen] ** 2).sum() <= 100 for chosen in found)
    assert [len(chosen) for chosen in batches(some, 1)] == [1] * 50
