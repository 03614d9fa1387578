"""What every architecture must keep. A plug-in's test inherits ``TrainableContract`` and one of the contracts of roles."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.training.checkpoint import save_model
from gapsmith.training.judging import judged_by
from gapsmith.training.loop import TrainingPlan, train
from gapsmith.training.protocol import LabelledGeometry, Trainable, loaded, trainable

DOMAIN = ModelDomain(("H", "C", "N", "O", "F"), (1, 9), {"gap": KnownProperty("B3LYP/6-31G(2df,p)", "eV", 3.3, 10.2)})
ETHANOL = (
    np.array([6, 6, 8, 1, 1, 1, 1, 1, 1], dtype=np.uint8),
    np.array(
        [
            [-1.19, -0.24, 0.0], [0.0, 0.72, 0.0], [1.19, -0.03, 0.0], [-2.14, 0.3, 0.0], [-1.17, -0.88, 0.89],
            [-1.17, -0.88, -0.89], [0.0, 1.37, 0.89], [0.0, 1.37, -0.89], [1.96, 0.55, 0.0],
        ],
        dtype=np.float32,
    ),
)  # fmt: skip
METHANE = (
    np.array([6, 1, 1, 1, 1], dtype=np.uint8),
    np.array([[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]], "f4"),
)
PHOSPHINE = (
    np.array([15, 1, 1, 1], dtype=np.uint8),
    np.array([[0, 0, 0.13], [1.19, 0, -0.64], [-0.6, 1.03, -0.64], [-0.6, -1.03, -0.64]], dtype=np.float32),
)


def labels(count: int) -> list[LabelledGeometry]:
    """Ethanol and methane in turn, slightly displaced, with made-up gaps."""
    random = np.random.default_rng(3)
    found = []
    for number in range(count):
        numbers, coordinates = (ETHANOL, METHANE)[number % 2]
        moved = coordinates + random.normal(scale=0.01, size=coordinates.shape).astype(np.float32)
        found.append(LabelledGeometry(numbers, moved, {"gap_ev": 6.0 + number % 2, "homo_ev": -7.0}))
    return found


class TrainableContract:
    """Inherit it, say what the architecture is and how a small network of it is configured."""

    architecture: str  # the name of its entry point
    config: dict[str, Any]  # of a network that is trained in seconds, as a card has it

    @pytest.fixture
    def one(self) -> Trainable:
        """The architecture, found as every service finds it."""
        return trainable(self.architecture)

    @pytest.fixture
    def model(self, one: Trainable) -> nn.Module:
        """A network with random weights."""
        torch.manual_seed(0)
        return one.build(self.config)

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A network that was trained for two steps, finished and saved with its card; one for all tests of a class."""
        one, folder = trainable(self.architecture), tmp_path_factory.mktemp(self.architecture)
        torch.manual_seed(0)
        model = one.build(self.config)
        source = one.fine_tuning_source(model, [labels(8)], batch_size=4, replay_fraction=0.25, seed=1, device="cpu")
        model, state = train(one, model, source, TrainingPlan(steps=2, learning_rate=1e-3), directory=folder / "state")
        assert state.step == 2
        facts = one.finish(model, labels(6))
        save_model(
            folder / "model-0.safetensors",
            model,
            role=one.role,
            architecture=one.architecture,
            domain=DOMAIN,
            config=self.config,
            card=facts,
        )
        return folder / "model-0.safetensors"

    def test_it_is_registered_under_its_own_name_and_has_a_role(self, one: Trainable) -> None:
        assert one.architecture == self.architecture
        assert one.role in ("generator", "surrogate")

    def test_its_configurations_are_checked(self, one: Trainable) -> None:
        assert isinstance(one.build(json.loads(json.dumps(self.config, sort_keys=True))), nn.Module)
        with pytest.raises(InputError):
            one.build({**self.config, "no such key": 1})
        missing = dict(self.config)
        missing.pop(next(iter(missing)))
        with pytest.raises(InputError):
            one.build(missing)

    def test_the_loss_can_be_minimised(self, one: Trainable, model: nn.Module) -> None:
        source = one.fine_tuning_source(model, [labels(8)], batch_size=4, replay_fraction=0.25, seed=1, device="cpu")
        losses = one.loss(model.train(), source.batch(0))
        assert all(torch.isfinite(value).all() for value in losses.values())
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())

    def test_batches_depend_on_the_step_alone(self, one: Trainable, model: nn.Module) -> None:
        found = []
        for _ in range(2):
            source = one.fine_tuning_source(
                model, [labels(8)], batch_size=4, replay_fraction=0.25, seed=1, device="cpu"
            )
            source.batch(3)
            torch.manual_seed(7)
            found.append(float(one.loss(model.eval(), source.batch(2))["loss"].detach()))
        assert found[0] == found[1]

    def test_it_measures_what_it_is_judged_by(self, one: Trainable, model: nn.Module) -> None:
        wanted = {metric.name for metric in judged_by(one)}
        for metrics in (one.evaluate(model, limit=16), one.evaluate_labels(model, labels(4))):
            assert wanted <= metrics.keys()
            assert all(np.isfinite(metrics[name]) for name in wanted)

    def test_only_the_last_layers_are_trained_if_asked_for(self, one: Trainable, model: nn.Module) -> None:
        one.freeze(model, "all")
        everything = sum(p.numel() for p in model.parameters() if p.requires_grad)
        one.freeze(model, "heads")
        assert 0 < sum(p.numel() for p in model.parameters() if p.requires_grad) < everything

    def test_it_is_trained_saved_and_loaded(self, one: Trainable, weights: Path, tmp_path: Path) -> None:
        assert loaded(weights, role=one.role).domain == DOMAIN
        with pytest.raises(CheckpointError, match="role"):
            loaded(weights, role="oracle")
        damaged = tmp_path / "damaged.safetensors"
        damaged.write_bytes(weights.read_bytes()[:-1] + b"x")
        damaged.with_suffix(".json").write_bytes(weights.with_suffix(".json").read_bytes())
        with pytest.raises(CheckpointError):
            loaded(damaged, role=one.role)


class SurrogateContract(TrainableContract):
    """For the role surrogate as well: see ``gapsmith.training.roles.Surrogate``."""

    def test_it_predicts_within_its_domain(self, weights: Path) -> None:
        surrogate = loaded(weights, role="surrogate")
        found = surrogate.predict([ETHANOL, METHANE, ETHANOL])
        assert len(found) == 3
        assert "gap_ev" in surrogate.columns
        assert set(found.heads) == set(surrogate.columns)
        assert found.mean_ev.shape == found.std_ev.shape == found.out_of_distribution.shape == (3,)
        assert (found.std_ev > 0).all()
        np.testing.assert_allclose(found.mean_ev[0], found.mean_ev[2], atol=1e-5)
        np.testing.assert_allclose(found.mean_ev, found.heads["gap_ev"].mean, atol=1e-6)
        for head in found.heads.values():
            assert np.isfinite([head.mean, head.std, head.low, head.high]).all()
            assert (head.std > 0).all()
            assert (head.low <= head.high).all()
            beyond = (head.mean < head.low) | (
                head.high < head.mean
            )  # of an impossible mean, the end is what is possible
            assert len(np.unique(np.where(head.mean < head.low, head.low, head.high)[beyond])) <= 1
            wide = head.high - head.low  # of 90 %
            free = (head.low < head.mean) & (head.mean < head.high)
            assert (wide[free] >= 0.5 * head.std[free]).all()
        assert len(surrogate.predict([])) == 0

    def test_a_turned_and_shifted_molecule_is_the_same(self, weights: Path) -> None:
        surrogate = loaded(weights, role="surrogate")
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        numbers, coordinates = ETHANOL
        moved = (coordinates @ turn + np.array([1.0, -2.0, 0.5])).astype(np.float32)
        before, after = surrogate.predict([ETHANOL]), surrogate.predict([(numbers, moved)])
        np.testing.assert_allclose(before.mean_ev, after.mean_ev, atol=1e-3)

    def test_it_refuses_what_it_does_not_know(self, weights: Path) -> None:
        surrogate = loaded(weights, role="surrogate")
        with pytest.raises(InputError, match="P"):
            surrogate.predict([METHANE, PHOSPHINE])
        chain = np.zeros((10, 3), np.float32)
        chain[:, 0] = 1.5 * np.arange(10)
        with pytest.raises(InputError, match="10 atoms other than hydrogen"):
            surrogate.predict([(np.full(10, 6, np.uint8), chain)])


class SamplerContract(TrainableContract):
    """For the role generator as well: see ``gapsmith.training.roles.Sampler``."""

    def test_the_same_seed_gives_the_same_molecules(self, weights: Path) -> None:
        sampler = loaded(weights, role="generator")
        first, again = (sampler.sample(4, {"gap_ev": 6.0}, 5, heavy_atoms=(2, 4), elements=(6, 8)) for _ in range(2))
        assert first.attempts == again.attempts == 4
        assert len(first.molecules) + sum(first.refused.values()) == 4
        assert len(first.molecules) == len(first.parents) == len(first.origins)
        for one, other in zip(first.molecules, again.molecules, strict=True):
            assert np.array_equal(one.coordinates, other.coordinates)
        for one in first.molecules:
            assert set(one.numbers.tolist()) <= {1, 6, 8}
            assert 2 <= (one.numbers != 1).sum() <= 4

    def test_it_refuses_what_it_does_not_know(self, weights: Path) -> None:
        sampler = loaded(weights, role="generator")
        phosphine = Molecule(PHOSPHINE[0], PHOSPHINE[1].astype(np.float64), np.zeros(4, np.int8), np.array([[0, 1, 1]]))
        asks: tuple[Callable[[], object], ...] = (
            lambda: sampler.sample(1, {"gap_ev": 6.0}, 0, elements=(15,)),
            lambda: sampler.sample(1, {"gap_ev": 6.0}, 0, heavy_atoms=(40, 50)),
            lambda: sampler.sample(1, {"colour": 6.0}, 0),
            lambda: sampler.regrow([phosphine], 1, 0.5, None, 0),
            lambda: sampler.regrow([], 1, 0.5, None, 0),
        )
        for ask in asks:
            with pytest.raises(InputError):
                ask()

    def test_it_stops_when_told(self, weights: Path) -> None:
        sampler = loaded(weights, role="generator")
        assert sampler.sample(4, None, 0, should_stop=lambda: True).attempts == 0
