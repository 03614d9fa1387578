"""Heads of levels of their own: they begin where the network is, and take nothing from what it knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gapsmith.core.errors import InputError, NotFound
from gapsmith.data import imported
from gapsmith.data.imported import DataSet
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import find
from gapsmith.generator.trainable import GeneratorTrainable
from gapsmith.surrogate import WEIGHTS, sources
from gapsmith.surrogate.calibration import fit
from gapsmith.surrogate.config import parse
from gapsmith.surrogate.inference import predict_molecules
from gapsmith.surrogate.own_heads import extended, straight, widened
from gapsmith.surrogate.predictor import load_network
from gapsmith.surrogate.trainable import SurrogateTrainable
from gapsmith.trainer import data_sets
from gapsmith.training.card import card_alone
from gapsmith.training.protocol import extensible

HEAD = "gap@ours"
MOLECULES = 60


@pytest.fixture(scope="module")
def molecules() -> Molecules:
    """A few molecules of QM9's test split, with their electronic structure."""
    some = find("qm9").load("test")
    assert some is not None
    return some.take(np.arange(MOLECULES)).seen()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, molecules: Molecules) -> Iterator[dict[str, Any]]:
    """The shipped network's configuration, with sets whose gaps are 1.2 times QM9's less 0.5 eV, and QM9's own."""
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path))
    for name, head, theory in (("ours", HEAD, "ours"), ("same", "gap", "B3LYP/6-31G(2df,p)")):
        gaps = molecules.target("gap") * 1.2 - 0.5 if name == "ours" else molecules.target("gap")
        part = Molecules(molecules.offsets, molecules.numbers, molecules.coordinates, {head: gaps})
        keys = [f"{number:014d}-AAAAAAAAAA-N" for number in range(MOLECULES)]
        card = {"head": head, "property": "gap", "theory": theory, "title": name, "origin": "a.csv", "licence": "MIT"}
        splits = np.array([number % 10 == 8 for number in range(MOLECULES)], np.uint8)
        imported.write(name, DataSet(card | {"file_sha256": ""}, part, keys, ["C"] * MOLECULES, splits), "")
    find.cache_clear()
    yield card_alone(WEIGHTS)["config"]
    find.cache_clear()


def test_a_network_gets_a_head_and_still_predicts_what_it_did(config: dict[str, Any], molecules: Molecules) -> None:
    before, after = load_network(WEIGHTS), extended(WEIGHTS, config, ["ours"])
    old, new = predict_molecules([before], molecules), predict_molecules([after], molecules)
    assert set(new.mean) - set(old.mean) == {HEAD}
    for name in old.mean:
        np.testing.assert_allclose(new.mean[name], old.mean[name], rtol=1e-6)
    calibrated = dict(zip(after.names, after.sigma_scale.tolist(), strict=True))
    assert {name: calibrated[name] for name in before.names} == dict(
        zip(before.names, before.sigma_scale.tolist(), strict=True)
    )


def test_a_head_begins_on_a_straight_line_to_its_labels(config: dict[str, Any], molecules: Molecules) -> None:
    after = extended(WEIGHTS, config, ["ours"])
    found = predict_molecules([after], molecules, wanted=["gap", HEAD]).mean
    wanted = molecules.target("gap") * 1.2 - 0.5
    shifted = found["gap"] + (wanted - found["gap"]).mean()
    assert np.abs(found[HEAD] - wanted).mean() < 0.1
    assert np.abs(found[HEAD] - wanted).mean() < np.abs(shifted - wanted).mean()


def test_its_first_error_bars_are_as_wide_as_its_errors(config: dict[str, Any]) -> None:
    kind = SurrogateTrainable()
    after = kind.extended(WEIGHTS, config, ["ours"]).eval()
    found = kind.evaluate_labels(after, data_sets.labelled(["ours"], "train"))
    gaussian = 0.5 * np.log(2 * np.pi * found[f"{HEAD}_rmse_ev"] ** 2) + 0.5
    assert found[f"{HEAD}_nll"] < gaussian + 1.0


def test_labels_of_a_level_that_is_known_need_no_new_head(config: dict[str, Any]) -> None:
    found = parse(widened(config, ["same"]), trained=True)
    assert found.heads.keys() == config["heads"].keys()
    assert found.heads["gap"].sources == (*config["heads"]["gap"]["sources"], "imported:same")
    both = widened(widened(config, ["ours", "same"]), ["ours"])
    assert both == widened(config, ["same", "ours"])
    assert parse(both, trained=True).column(HEAD) == "gap_ours_ev"


def test_what_is_not_there_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match="no imported data set 'theirs'"):
        widened(config, ["theirs"])
    with pytest.raises(InputError, match="a generator does not learn from imported data sets"):
        extensible(GeneratorTrainable())


def test_only_new_heads_learn_from_data_sets(config: dict[str, Any]) -> None:
    kind = SurrogateTrainable()
    after = kind.extended(WEIGHTS, config, ["ours"])
    kind.freeze(after, "own")
    assert {name.split(".")[1] for name, one in after.named_parameters() if one.requires_grad} == {HEAD}
    found = data_sets.domain(kind.load(WEIGHTS).domain, ["ours"])
    assert (found.properties[HEAD].level, found.properties[HEAD].unit) == ("ours", "eV")


def test_a_deleted_set_leaves_its_head_as_it_was(config: dict[str, Any]) -> None:
    model = extended(WEIGHTS, config, ["ours"])
    before = dict(zip(model.names, model.sigma_scale.tolist(), strict=True))
    imported.delete("ours")
    find.cache_clear()
    assert sources.load("imported:ours", "validation") is None
    after, _ = fit([model], most=40)
    assert after.sigma_scale[HEAD] == before[HEAD]
    assert after.sigma_scale["gap"] != before["gap"]


@pytest.mark.parametrize(("points", "slope"), [(1, 1.0), (2, 14 / 12), (10, 1.5), (990, 1.99)])
def test_few_points_hardly_turn_a_line(points: int, slope: float) -> None:
    x = np.linspace(1, 5, points)
    found, shift = straight(x, 2 * x + 3)
    assert found == pytest.approx(slope)
    assert found * x.mean() + shift == pytest.approx((2 * x + 3).mean())


def test_every_group_of_labels_has_its_share(config: dict[str, Any]) -> None:
    kind = SurrogateTrainable()
    model = kind.extended(WEIGHTS, config, ["ours", "same"])
    groups = [data_sets.labelled(["ours"], "train"), data_sets.labelled(["same"], "validation")]
    source = kind.fine_tuning_source(model, groups, batch_size=16, replay_fraction=0.5, seed=0, device="cpu")
    (part,) = source.batch(3).parts
    own = torch.isfinite(part.labels[HEAD])
    rest = torch.isfinite(part.labels["gap"]) & ~torch.isfinite(part.labels["polarizability"])
    assert (int(own.sum()), int(rest.sum()), len(part)) == (4, 4, 16)
