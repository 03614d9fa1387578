"""Loss, routing, learning, checkpoints and predictions, with small networks on made-up molecules."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from model_cards import DOMAIN, as_role

from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import ROLE, calibration, data, sources
from gapsmith.surrogate.batches import Batch, MixedSource, Share
from gapsmith.surrogate.loss import losses, normalise
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.predictor import Predictor, save_deep
from gapsmith.surrogate.trainable import SurrogateTrainable, build
from gapsmith.training.checkpoint import card_path, save_model
from gapsmith.training.loop import TrainingPlan, train
from gapsmith.training.protocol import LabelledGeometry

GFN2 = ("gfn2_gap", "gfn2_energy", "gfn2_forces")


def labels(count: int, seed: int) -> list[LabelledGeometry]:
    """Diatomics whose gap falls with their distance."""
    draw = np.random.default_rng(seed)
    found = []
    for distance in draw.uniform(1.0, 2.0, count).tolist():
        gap, homo = 12 - 3 * distance, -6 - distance
        coordinates = np.array([[0, 0, 0], [0, 0, distance]], dtype=np.float32)
        found.append(LabelledGeometry(np.array([6, 8], np.uint8), coordinates, {"gap_ev": gap, "homo_ev": homo}))
    return found


def diatomics(count: int, seed: int) -> Molecules:
    rows = labels(count, seed)
    return data.from_geometries([(x.numbers, x.coordinates) for x in rows], [x.targets for x in rows])


@pytest.fixture
def qm9(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of QM9's splits: the same made-up molecules under other seeds."""
    seeds = {"train": 0, "validation": 1, "test": 2}
    monkeypatch.setattr(sources, "load", lambda name, split, seen=False: diatomics(300, seeds[split]))


@pytest.fixture(scope="module")
def config(small: SimpleNamespace) -> dict[str, Any]:
    found: dict[str, Any] = small.only_gap()
    return found


@pytest.fixture(scope="module")
def network(config: dict[str, Any]) -> SurrogateNetwork:
    torch.manual_seed(0)
    return build(config).eval()


@pytest.fixture(scope="module")
def predictor(network: SurrogateNetwork) -> Predictor:
    return Predictor(network, DOMAIN)


def batch_of(molecules: Molecules, name: str = "qm9") -> Batch:
    source = MixedSource({name: Share(molecules, 1.0, 0.0)}, batch_size=len(molecules), seed=0, device="cpu")
    return source.batch(0)


def touched(model: SurrogateNetwork, loss: torch.Tensor) -> set[str]:
    """Parameters whose gradient is there and not zero."""
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name for name, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
    model.zero_grad()
    return found


@pytest.mark.parametrize("layer", ["painn", "equivariant_transformer"])
def test_a_source_trains_its_own_heads_alone(small: SimpleNamespace, layer: str) -> None:
    model = small.network(layer=layer).float().train()
    qm9_batch, xtb_batch = batch_of(small.labelled(6)), batch_of(small.labelled(6, forces=True), "gfn2")
    by_qm9, by_xtb = (touched(model, losses(model, batch)["loss"]) for batch in (qm9_batch, xtb_batch))
    heads_by_qm9 = {name.split(".")[1] for name in by_qm9 if name.startswith("heads.")}
    assert heads_by_qm9 == set(model.heads) - set(GFN2)
    assert {name.split(".")[1] for name in by_xtb if name.startswith("heads.")} == {"gfn2_gap", "gfn2_energy"}
    assert not any(name.startswith("lumo_noise") for name in by_xtb)
    for trunk in (by_qm9, by_xtb):
        assert {f"trunk.interactions.{i}.message.filter.weight" for i in range(2)} <= trunk


def test_unknown_labels_of_some_molecules_change_nothing(small: SimpleNamespace) -> None:
    model, some = small.network(), small.labelled(6)
    expected = losses(model, batch_of(some.take(np.array([0, 3]))))["gap_mae"]
    for values in some.graph.values():
        values[[1, 2, 4, 5]] = np.nan
    found = losses(model, batch_of(some))
    assert float(found["gap_mae"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert torch.isfinite(found["loss"])


def test_forces_teach_the_trunk_by_a_second_derivative(small: SimpleNamespace) -> None:
    model = small.network().train()
    some = small.labelled(4, forces=True).only(("gfn2_forces",))
    model.zero_grad()
    (part,) = batch_of(some).parts
    batch = Batch((replace(part, graph=replace(part.graph, coordinates=part.graph.coordinates.double())),))
    found = losses(model, batch)
    assert set(found) == {"loss", "gfn2_forces_mae"}
    found["loss"].backward()  # type: ignore[no-untyped-call]
    weight = model.trunk.interactions[0].message.filter.weight
    index, step = (3, 4), 1e-6
    gradient = float(weight.grad[index])
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[index] += sign * step
        values.append(float(losses(model, batch)["loss"].detach()))
        with torch.no_grad():
            weight[index] -= sign * step
    assert gradient == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-9)
    assert gradient != 0


def test_noise_is_fitted_without_touching_the_mean(small: SimpleNamespace) -> None:
    model, batch = small.network(), batch_of(small.labelled(8))
    members = model(batch.parts[0].graph).heads
    found = touched(model, sum(m.log_variance.sum() for m in members.values()))
    assert found
    assert all(".noise." in name or name.startswith("lumo_noise.") for name in found)


def test_task_weights_are_learnt_only_if_asked_for(small: SimpleNamespace) -> None:
    config = small.only_gap()
    config["training"]["task_weights"] = "learnt"
    model = build(config)
    loss = losses(model, batch_of(small.labelled(6)))["loss"]
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
    assert model.task_log_variance.grad is not None
    assert (model.task_log_variance.grad != 0).all()
    assert not build(small.only_gap()).task_log_variance.requires_grad


def test_scales_and_references_come_from_the_data(small: SimpleNamespace) -> None:
    some = small.labelled(200)
    fit = np.array([0, 2.0, 0, 0, 0, 0, -5.0, 3.0, 1.5, 7.0])
    some.graph["polarizability"][:] = some.composition(9) @ fit
    model = build(small.configuration())
    normalise(model, [some, small.labelled(100, forces=True)])
    head = model.head("polarizability")
    np.testing.assert_allclose(head.reference.numpy(), fit, atol=1e-9)
    assert float(head.scale) == pytest.approx(1e-3)  # nothing is left
    gap = some.target("gap")
    assert float(model.head("gap").offset) == pytest.approx(gap.mean())
    assert float(model.scale("lumo")) == pytest.approx(gap.std())
    assert float(model.force_scale) == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("qm9")
def test_it_learns_and_is_calibrated(config: dict[str, Any]) -> None:
    trainable = SurrogateTrainable()
    torch.manual_seed(0)
    model = build(config)
    normalise(model, [diatomics(300, 0)])
    before = trainable.evaluate(model)
    source = MixedSource({"qm9": Share(diatomics(300, 0), 1.0, 0.01)}, batch_size=32, seed=0, device="cpu")
    plan = TrainingPlan(steps=120, learning_rate=5e-3, warmup_steps=10, ema_decay=0.9)
    train(trainable, model, source, plan)
    card = trainable.finish(model, [])["calibration"]
    after = trainable.evaluate(model)
    assert after["gap_mae_ev"] < 0.2 * before["gap_mae_ev"]
    assert after["lumo_mae_ev"] < 0.3
    held_out = labels(200, 9)
    predicted = Predictor(model, DOMAIN).predict([(x.numbers, x.coordinates) for x in held_out])
    gap = np.array([x.targets["gap_ev"] for x in held_out])
    z = (predicted.mean_ev - gap) / predicted.std_ev
    assert np.sqrt((z**2).mean()) == pytest.approx(1.0, abs=0.35)
    bars = predicted.heads["gap_ev"]
    assert ((bars.low <= gap) & (gap <= bars.high)).mean() == pytest.approx(0.9, abs=0.07)
    assert predicted.out_of_distribution.mean() < 0.1
    chain = np.array([6] * 9), np.stack([np.arange(9) * 1.4, np.zeros(9), np.arange(9) % 2], axis=1)
    far = Predictor(model, DOMAIN).predict([chain])
    assert far.distance[0] > 2 * predicted.distance.max()
    assert far.out_of_distribution[0]
    assert card["sigma_scale"]["gap"] == pytest.approx(float(model.sigma_scale[model.names.index("gap")]))
    assert trainable.evaluate(model, limit=10)["gap_mae_ev"] != after["gap_mae_ev"]


@pytest.mark.usefixtures("qm9")
def test_fine_tuning_takes_labels_without_homo(network: SurrogateNetwork) -> None:
    bare = [LabelledGeometry(x.numbers, x.coordinates, {"gap_ev": 1.0}) for x in labels(6, 3)]
    trainable = SurrogateTrainable()
    source = trainable.fine_tuning_source(network, [bare], batch_size=8, replay_fraction=0.25, seed=0, device="cpu")
    found = trainable.loss(network, source.batch(0))
    assert all(torch.isfinite(value) for value in found.values())
    assert set(trainable.evaluate_labels(network, bare)) == {"gap_mae_ev", "gap_rmse_ev", "gap_nll"}
    with pytest.raises(InputError, match="label 0 has no finite value that a head could learn"):
        trainable.evaluate_labels(network, [LabelledGeometry(bare[0].numbers, bare[0].coordinates, {"mood": 1.0})])


def test_batch_equals_single(predictor: Predictor, small: SimpleNamespace) -> None:
    many = [small.molecule(seed, 3 + seed % 20) for seed in range(150)]  # more pairs than one batch holds
    predictor.domain = predictor.domain.including(numbers for numbers, _ in many)
    together = predictor.predict(many)
    for index in (0, 1, 17, 77, 149):
        alone = predictor.predict([many[index]])
        assert together.mean_ev[index] == pytest.approx(alone.mean_ev[0], abs=1e-5)
        assert together.std_ev[index] == pytest.approx(alone.std_ev[0], abs=1e-5)
        assert together.distance[index] == pytest.approx(alone.distance[0], abs=1e-4)
    assert (together.std_ev > 0).all()


def test_no_molecules_give_no_predictions(predictor: Predictor) -> None:
    assert len(predictor.predict([])) == 0


def test_predictions_refuse_what_the_network_does_not_know(predictor: Predictor, small: SimpleNamespace) -> None:
    with pytest.raises(InputError, match=r"molecule 1: it has S"):
        predictor.predict([small.molecule(0, 4), (np.array([16, 1]), np.array([[0, 0, 0], [0, 0, 1.3]]))])
    with pytest.raises(InputError, match="no head gfn2_forces; they have homo, lumo, gap"):
        predictor.forces(small.molecule(0, 4))


def test_heads_come_in_their_own_units(small: SimpleNamespace) -> None:
    torch.manual_seed(0)
    config = small.configuration()
    plain = build(config)
    config["heads"]["gap"]["unit"] = "meV"
    config["heads"]["dipole"]["unit"] = "e*angstrom"
    other = build(config)
    other.load_state_dict(plain.state_dict())
    molecules = [small.molecule(seed, 6) for seed in range(3)]
    first, second = Predictor(plain, DOMAIN).predict(molecules), Predictor(other, DOMAIN).predict(molecules)
    np.testing.assert_allclose(second.heads["gap_mev"].mean, 1000 * first.heads["gap_ev"].mean)
    np.testing.assert_allclose(second.heads["gap_mev"].high, 1000 * first.heads["gap_ev"].high)
    np.testing.assert_allclose(
        second.heads["dipole_e_angstrom"].std * 4.80320, first.heads["dipole_debye"].std, rtol=1e-5
    )
    np.testing.assert_allclose(second.mean_ev, first.mean_ev)  # what the loop reads is always in eV
    assert first.heads["mulliken_charge_e"].mean.shape == (18,)
    assert Predictor(plain, DOMAIN).forces(molecules[0]).shape == (6, 3)


def test_intervals_stay_where_values_can_be(small: SimpleNamespace) -> None:
    torch.manual_seed(0)
    model = build(small.configuration())
    model.interval.fill_(1e4)  # wider than anything
    heads = Predictor(model, DOMAIN).predict([small.molecule(1, 6)]).heads
    for name in ("gap_ev", "dipole_debye", "polarizability_bohr3"):
        assert heads[name].low[0] == 0.0 < heads[name].high[0]
    assert heads["homo_ev"].low[0] < 0.0
    assert heads["atomization_energy_ev"].low[0] < 0.0


@pytest.mark.parametrize("half", [False, True])
def test_checkpoint_round_trip(
    network: SurrogateNetwork,
    predictor: Predictor,
    config: dict[str, Any],
    small: SimpleNamespace,
    tmp_path: Path,
    half: bool,
) -> None:
    weights = tmp_path / "model.safetensors"
    network.sigma_scale.copy_(torch.tensor([1.2345678, 2.0, 3.0], dtype=torch.float64))
    save_model(weights, network, **as_role(ROLE), config=config, card={"steps": 1}, half=half)
    loaded = Predictor.load(weights)
    assert loaded.calibration.sigma_scale == predictor.calibration.sigma_scale  # never rounded, never mixed up
    molecules = [small.molecule(seed, 8) for seed in range(5)]
    expected = predictor.predict(molecules)
    np.testing.assert_allclose(loaded.predict(molecules).mean_ev, expected.mean_ev, atol=2e-2 if half else 1e-6)
    network.sigma_scale.fill_(1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("qm9")
def test_a_deep_ensemble_is_its_networks_together(
    config: dict[str, Any], small: SimpleNamespace, tmp_path: Path
) -> None:
    files = []
    for seed in range(3):
        torch.manual_seed(seed)
        files.append(tmp_path / f"surrogate-{seed}.safetensors")
        save_model(files[-1], build(config), **as_role(ROLE), config=config, card={})
    singles = [Predictor.load(file) for file in files]
    made = save_deep(tmp_path / "deep.safetensors", files)
    molecules = [small.molecule(seed, 8) for seed in range(5)]
    loaded, expected = Predictor.load(tmp_path / "deep.safetensors").predict(molecules), made.predict(molecules)
    np.testing.assert_array_equal(loaded.heads["gap_ev"].high, expected.heads["gap_ev"].high)
    means = np.stack([one.predict(molecules).mean_ev for one in singles])
    np.testing.assert_allclose(loaded.mean_ev, means.mean(0), atol=1e-9)
    assert (means.std(0) > 1e-4).all()  # they start differently
    raw = [one.predict(molecules).std_ev for one in singles]
    spread = np.sqrt((np.stack(raw) ** 2).mean(0) + means.var(0))
    np.testing.assert_allclose(loaded.std_ev, made.calibration.calibrated(spread, "gap"), rtol=1e-6)
    save_model(files[1], build(config), **as_role(ROLE), config=config, card={})
    with pytest.raises(CheckpointError, match=r"surrogate-1\.safetensors is another network"):
        Predictor.load(tmp_path / "deep.safetensors")


def test_damaged_checkpoints_are_refused(
    network: SurrogateNetwork, config: dict[str, Any], small: SimpleNamespace, tmp_path: Path
) -> None:
    weights = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="is missing"):
        Predictor.load(weights)
    save_model(weights, network, **as_role(ROLE), config=config, card={})
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="does not match its card"):
        Predictor.load(weights)
    weights.write_bytes(whole)
    card = json.loads(card_path(weights).read_text())
    deeper = {**config, "trunk": {**config["trunk"], "layers": 3}}
    card_path(weights).write_text(json.dumps({**card, "config": deeper}))
    with pytest.raises(CheckpointError, match="does not fit"):
        Predictor.load(weights)
    card_path(weights).write_text(json.dumps({**card, "config": {"depth": 3}}))
    with pytest.raises(CheckpointError, match="describes no network of this version"):
        Predictor.load(weights)
    card_path(weights).write_text(json.dumps({**card, "role": "generator"}))
    with pytest.raises(CheckpointError, match="role 'generator'"):
        Predictor.load(weights)


@pytest.mark.usefixtures("qm9")
def test_labels_share_in_the_calibration(network: SurrogateNetwork) -> None:
    rows = [LabelledGeometry(x.numbers, x.coordinates, {"gap_ev": 80.0}) for x in labels(50, 4)]  # badly predicted
    card = SurrogateTrainable().finish(network, rows)["calibration"]
    assert card["rms_z_of_labels_before"] > card["rms_z_of_labels"] > 1.0  # heard, but not alone
    wide = Predictor(network, DOMAIN).predict([(x.numbers, x.coordinates) for x in rows]).std_ev
    calibration.calibrate(network)
    assert (Predictor(network, DOMAIN).predict([(x.numbers, x.coordinates) for x in rows]).std_ev < wide).all()


PLAIN = calibration.Recalibration(1.0, 1.0)


def test_intervals_of_molecules_unlike_the_training_data_are_their_own() -> None:
    draw = np.random.default_rng(1)
    unlike = np.arange(4000) % 20 == 0
    errors = calibration.Errors(draw.normal(size=4000) * np.where(unlike, 5.0, 1.0), np.ones(4000), unlike)
    like_half, unlike_half = calibration.stratified([errors], PLAIN)
    assert like_half == pytest.approx(1.64, abs=0.1)
    assert unlike_half == pytest.approx(8.2, rel=0.15)


def test_intervals_hold_for_every_source_and_not_on_average() -> None:
    draw, unlike = np.random.default_rng(2), np.arange(4000) % 20 == 0
    large = calibration.Errors(draw.normal(size=4000), np.ones(4000), unlike)
    small = calibration.Errors(draw.normal(size=60) * 4.0, np.ones(60), np.arange(60) < 45)  # 15 are like: too few
    like_half, unlike_half = calibration.stratified([large, small], PLAIN)
    assert like_half == pytest.approx(1.64, abs=0.1)
    assert 5.0 < unlike_half < 11.0


def test_a_few_of_them_never_have_a_narrower_interval_than_the_others() -> None:
    error, unlike = np.random.default_rng(1).normal(size=4000), np.arange(4000) < 10
    errors = calibration.Errors(np.where(unlike, 0.0, error), np.ones(4000), unlike)
    like_half, unlike_half = calibration.stratified([errors], PLAIN)
    assert unlike_half >= like_half
