"""Loss, learning, checkpoints and predictions, with a small network on made-up molecules."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.surrogate import calibration, data
from gapsmith.surrogate.network import GapNetwork
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.trainable import KIND, SurrogateTrainable, build
from gapsmith.training.checkpoint import card_path, save_model
from gapsmith.training.loop import TrainingPlan, train
from gapsmith.training.protocol import LabelledGeometry

SMALL = {
    "features": 32,
    "vector_features": 16,
    "heads": 4,
    "layers": 2,
    "radial": 12,
    "cutoff_angstrom": 6.0,
    "latent": 16,
    "members": 5,
}


def labels(count: int, seed: int) -> list[LabelledGeometry]:
    """Diatomics whose gap falls with their distance."""
    draw = np.random.default_rng(seed)
    found = []
    for distance in draw.uniform(1.0, 2.0, count).tolist():
        gap, homo = 12 - 3 * distance, -6 - distance
        coordinates = np.array([[0, 0, 0], [0, 0, distance]], dtype=np.float32)
        found.append(LabelledGeometry(np.array([6, 8], np.uint8), coordinates, {"gap_ev": gap, "homo_ev": homo}))
    return found


@pytest.fixture
def qm9(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of QM9's splits: the same made-up molecules under other seeds."""
    seeds = {"train": 0, "validation": 1, "test": 2}

    def split(name: str) -> data.Molecules:
        rows = labels(300, seeds[name])
        return data.from_geometries([(x.numbers, x.coordinates) for x in rows], [x.targets for x in rows])

    monkeypatch.setattr(data, "base_split", split)


@pytest.fixture(scope="module")
def network() -> GapNetwork:
    torch.manual_seed(0)
    return build(SMALL).eval()


@pytest.fixture(scope="module")
def predictor(network: GapNetwork) -> Predictor:
    return Predictor(network)


def geometry(seed: int, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """A winding chain that does not meet itself."""
    draw = np.random.default_rng(seed)
    chain = np.stack([np.arange(atoms) * 0.9, draw.uniform(-1, 1, atoms), draw.uniform(-1, 1, atoms)], axis=1)
    return draw.choice([1, 6, 7, 8, 9], atoms), chain


@pytest.mark.usefixtures("qm9")
def test_it_learns_and_is_calibrated() -> None:
    trainable = SurrogateTrainable()
    torch.manual_seed(0)
    model = trainable.build(SMALL)
    before = trainable.evaluate(model)
    source = trainable.base_source(batch_size=32, seed=0, device="cpu")
    plan = TrainingPlan(steps=150, learning_rate=5e-3, warmup_steps=10, ema_decay=0.9)
    model, _ = train(trainable, model, source, plan)
    card = trainable.finish(model, [])
    after = trainable.evaluate(model)
    assert after["gap_mae_ev"] < 0.2 * before["gap_mae_ev"]
    assert after["lumo_mae_ev"] < 0.3
    held_out = labels(200, 9)
    predicted = Predictor(model).predict([(x.numbers, x.coordinates) for x in held_out])
    z = (predicted.mean_ev - [x.targets["gap_ev"] for x in held_out]) / predicted.std_ev
    assert np.sqrt((z**2).mean()) == pytest.approx(1.0, abs=0.35)
    assert predicted.out_of_distribution.mean() < 0.1
    far = Predictor(model).predict([geometry(0, 9)])
    assert far.distance[0] > 2 * predicted.distance.max()
    assert far.out_of_distribution[0]
    assert card["sigma_scale"] == pytest.approx(float(model.sigma_scale))
    few = trainable.evaluate(model, limit=10)
    assert few["gap_mae_ev"] != after["gap_mae_ev"]


@pytest.mark.usefixtures("qm9")
def test_fine_tuning_takes_labels_without_homo(network: GapNetwork) -> None:
    bare = [LabelledGeometry(x.numbers, x.coordinates, {"gap_ev": 1.0}) for x in labels(6, 3)]
    trainable = SurrogateTrainable()
    source = trainable.fine_tuning_source(bare, batch_size=8, replay_fraction=0.25, seed=0, device="cpu")
    losses = trainable.loss(network, source.batch(0))
    assert all(torch.isfinite(value) for value in losses.values())
    assert set(trainable.evaluate_labels(network, bare)) == {"gap_mae_ev", "gap_rmse_ev", "gap_nll"}
    with pytest.raises(InputError, match="label 0 has no finite gap_ev"):
        trainable.evaluate_labels(network, [LabelledGeometry(bare[0].numbers, bare[0].coordinates, {"homo_ev": 1.0})])


def test_lumo_is_homo_plus_gap_in_the_loss(network: GapNetwork) -> None:
    row = labels(1, 0)[0]
    molecules = data.from_geometries([(row.numbers, row.coordinates)])
    weights = np.ones((1, 16), np.float32)
    bare = molecules.batch(weights, "cpu")
    with torch.no_grad():
        output = network(bare.numbers, bare.coordinates, bare.molecule, 1)
    homo, gap = float(output.homo_ev.mean()), float(output.gap_ev.mean())
    targets = np.array([[homo + 1, gap - 1]], np.float32)  # the LUMO is right
    batch = data.Molecules(molecules.offsets, molecules.numbers, molecules.coordinates, targets).batch(weights, "cpu")
    losses = SurrogateTrainable().loss(network, batch)
    assert float(losses["gap_l1_ev"].detach()) == pytest.approx(1.0, abs=1e-3)
    assert float(losses["homo_l1_ev"].detach()) == pytest.approx(1.0, abs=1e-3)
    assert float(losses["lumo_l1_ev"].detach()) < 0.35


def test_noise_is_fitted_without_touching_the_mean(network: GapNetwork) -> None:
    rows = labels(8, 0)
    molecules = data.from_geometries([(x.numbers, x.coordinates) for x in rows], [x.targets for x in rows])
    losses = SurrogateTrainable().loss(network, molecules.batch(np.ones((8, 16), np.float32), "cpu"))
    network.zero_grad()
    losses["gap_nll"].backward()  # type: ignore[no-untyped-call]
    touched = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert touched
    assert all(name.startswith("variances.") for name in touched)
    network.zero_grad()


def test_batch_equals_single(predictor: Predictor) -> None:
    many = [geometry(seed, 3 + seed % 20) for seed in range(150)]  # more atoms than one batch holds
    together = predictor.predict(many)
    for index in (0, 1, 17, 77, 149):
        alone = predictor.predict([many[index]])
        assert together.mean_ev[index] == pytest.approx(alone.mean_ev[0], abs=1e-5)
        assert together.std_ev[index] == pytest.approx(alone.std_ev[0], abs=1e-5)
        assert together.distance[index] == pytest.approx(alone.distance[0], abs=1e-4)
    assert (together.std_ev > 0).all()


def test_no_molecules_give_no_predictions(predictor: Predictor) -> None:
    assert len(predictor.predict([])) == 0


def test_predictions_refuse_what_the_network_does_not_know(predictor: Predictor) -> None:
    with pytest.raises(InputError, match=r"molecule 1: atomic numbers \[16\]"):
        predictor.predict([geometry(0, 4), (np.array([16, 1]), np.array([[0, 0, 0], [0, 0, 1.3]]))])


@pytest.mark.parametrize("half", [False, True])
def test_checkpoint_round_trip(network: GapNetwork, predictor: Predictor, tmp_path: Path, half: bool) -> None:
    weights = tmp_path / "model.safetensors"
    network.sigma_scale.fill_(1.2345678)
    save_model(weights, network, kind=KIND, config=SMALL, card={"steps": 1}, half=half)
    loaded = Predictor.load(weights)
    assert float(loaded.model.sigma_scale) == float(network.sigma_scale)  # never rounded
    molecules = [geometry(seed, 8) for seed in range(5)]
    expected = predictor.predict(molecules)
    np.testing.assert_allclose(loaded.predict(molecules).mean_ev, expected.mean_ev, atol=2e-2 if half else 1e-6)
    network.sigma_scale.fill_(1.0)


def test_damaged_checkpoints_are_refused(network: GapNetwork, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="is missing"):
        Predictor.load(weights)
    save_model(weights, network, kind=KIND, config=SMALL, card={})
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="does not match its card"):
        Predictor.load(weights)
    weights.write_bytes(whole)
    card = json.loads(card_path(weights).read_text())
    card_path(weights).write_text(json.dumps({**card, "config": {**SMALL, "layers": 3}}))
    with pytest.raises(CheckpointError, match="does not fit"):
        Predictor.load(weights)
    card_path(weights).write_text(json.dumps({**card, "config": {"depth": 3}}))
    with pytest.raises(CheckpointError, match="describes no network of this version"):
        Predictor.load(weights)
    card_path(weights).write_text(json.dumps({**card, "kind": "generator"}))
    with pytest.raises(CheckpointError, match="kind 'generator'"):
        Predictor.load(weights)


@pytest.mark.usefixtures("qm9")
def test_labels_share_in_the_calibration(network: GapNetwork) -> None:
    rows = [LabelledGeometry(x.numbers, x.coordinates, {"gap_ev": 40.0}) for x in labels(50, 4)]  # badly predicted
    card = SurrogateTrainable().finish(network, rows)
    assert card["sigma_scale_labels"] > card["sigma_scale_validation"]
    assert card["sigma_scale_validation"] < card["sigma_scale"] < card["sigma_scale_labels"]
    plain = calibration.calibrate(network)
    assert plain["sigma_scale"] == pytest.approx(card["sigma_scale_validation"])
