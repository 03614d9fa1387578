"""A tiny surrogate that an installed plug-in could bring: a gap out of how many atoms of each element there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gapsmith.core.chemistry.elements import SYMBOLS, number_of
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.data import qm9
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.judging import Metric
from gapsmith.training.protocol import BaseOptions, BatchSource, LabelledGeometry, Recipe, Tuned
from gapsmith.training.roles import Geometry, HeadPrediction, Prediction


def counts(molecules: Sequence[np.ndarray], elements: Sequence[str]) -> Tensor:
    """(molecules, elements) float32, about one."""
    numbers = [number_of(symbol) for symbol in elements]
    rows = [[(molecule == number).sum() / 8 for number in numbers] for molecule in molecules]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, len(elements))


class Network(nn.Module):
    """Two layers, and one standard deviation for all."""

    sigma_ev: Tensor

    def __init__(self, elements: Sequence[str], hidden: int) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.first, self.last = nn.Linear(len(elements), hidden), nn.Linear(hidden, 1)
        self.register_buffer("sigma_ev", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(molecules, elements) to (molecules,), eV."""
        out: Tensor = self.last(torch.tanh(self.first(x))).squeeze(1) + 6.86
        return out


class Tally:
    """See ``gapsmith.training.roles.Surrogate``."""

    columns = ("gap_ev",)

    def __init__(self, network: Network, domain: ModelDomain) -> None:
        self.network, self.domain = network.eval(), domain

    @torch.no_grad()
    def predict(self, geometries: Sequence[Geometry]) -> Prediction:
        """Gaps; raises InputError outside the domain."""
        for numbers, _ in geometries:
            if reason := self.domain.refusal(numbers):
                raise InputError(reason)
        mean = self.network(counts([numbers for numbers, _ in geometries], self.network.elements)).double().numpy()
        std = np.full(len(mean), float(self.network.sigma_ev))
        return Prediction(
            mean_ev=mean,
            std_ev=std,
            homo_ev=np.full(len(mean), np.nan),
            distance=np.ones(len(mean)),
            out_of_distribution=np.zeros(len(mean), dtype=bool),
            heads={"gap_ev": HeadPrediction(mean, std, mean - 1.645 * std, mean + 1.645 * std)},
            offsets=np.cumsum([0, *(len(numbers) for numbers, _ in geometries)]),
            of_atoms=(),
            molecular={"gap": HeadPrediction(mean, std, mean - 1.645 * std, mean + 1.645 * std)},
        )


class Source:
    """Labels with a share of QM9."""

    def __init__(self, network: Network, labels: Sequence[LabelledGeometry], batch: int, old: int, seed: int) -> None:
        self._network, self._labels, self._batch, self._old, self._seed = network, labels, batch, old, seed

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> tuple[Tensor, Tensor]:
        """One rank's share of a step's batch."""
        draw, data = np.random.default_rng([self._seed, step]), qm9.load()
        replayed = draw.choice(qm9.split(len(data))["train"], self._old)
        chosen = [self._labels[i] for i in draw.integers(0, len(self._labels), self._batch - self._old)]
        molecules = [*(data.numbers[data.atoms(int(i))] for i in replayed), *(label.numbers for label in chosen)]
        gaps = [*data.properties["gap_ev"][replayed], *(label.targets["gap_ev"] for label in chosen)]
        x, y = counts(molecules, self._network.elements), torch.tensor(gaps, dtype=torch.float32)
        return x[rank::size], y[rank::size]


class TallyTrainable:
    """See ``gapsmith.training.protocol.Trainable``."""

    role, architecture = "surrogate", "tally"
    judged_by: tuple[Metric, ...] = (
        Metric("gap_mae_ev", "gap MAE", base_margin=0.05, label_cap=0.2, absolute_error=True),
    )

    def build(self, config: Mapping[str, Any]) -> Network:
        """A new network; raises InputError on unknown or missing keys."""
        if wrong := config.keys() ^ {"elements", "hidden"}:
            raise InputError(f"unknown or missing: {sorted(wrong)}")
        return Network(config["elements"], config["hidden"])

    def load(self, weights: Path, *, device: str = "cpu") -> Tally:
        """A trained network; raises CheckpointError."""
        card = read_card(weights, role=self.role)
        network = self.build(card["config"])
        load_weights(network, weights)
        return Tally(network.to(device), ModelDomain.of(card["domain"]))

    def default_config(self) -> dict[str, Any]:
        """Small."""
        training = {"batch_size": 32, "optimizer": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0}
        training |= {"warmup_steps": 2, "ema_decay": 0.5}
        return {"network": {"elements": ["H", "C", "N", "O", "F"], "hidden": 8}, "training": training}

    def base_training(self, config: Mapping[str, Any], options: BaseOptions) -> "Base":
        """On QM9."""
        return Base(self, config, options)

    def fine_tuning_source(
        self,
        model: nn.Module,
        labels: Sequence[Sequence[LabelledGeometry]],
        *,
        batch_size: int,
        replay_fraction: float,
        seed: int,
        device: str,
    ) -> BatchSource:
        """Labels and QM9."""
        assert isinstance(model, Network)
        those = [label for some in labels for label in some]
        return Source(model, those, batch_size, round(batch_size * replay_fraction), seed)

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """With "heads", the first layer stays as it is."""
        assert isinstance(model, Network)
        model.first.requires_grad_(tuned == "all")

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean squared error."""
        return {"loss": (model(batch[0]) - batch[1]).square().mean()}

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """On QM9's validation split."""
        data = qm9.load()
        chosen = qm9.split(len(data))["validation"][:limit]
        molecules = [data.numbers[data.atoms(int(i))] for i in chosen]
        return self._measured(model, molecules, data.properties["gap_ev"][chosen])

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """On labels."""
        return self._measured(model, [x.numbers for x in labels], np.array([x.targets["gap_ev"] for x in labels]))

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """The standard deviation is the error on validation data."""
        sigma = 1.25 * self.evaluate(model, limit=100)["gap_mae_ev"]
        model.state_dict()["sigma_ev"].fill_(sigma)
        return {"sigma_ev": sigma}

    @torch.no_grad()
    def _measured(self, model: nn.Module, molecules: Sequence[np.ndarray], gaps: np.ndarray) -> dict[str, float]:
        assert isinstance(model, Network)
        error = model(counts(molecules, model.elements)).double().numpy() - gaps
        return {"gap_mae_ev": float(np.abs(error).mean())}


class Base:
    """See ``gapsmith.training.protocol.BaseTraining``."""

    def __init__(self, own: TallyTrainable, config: Mapping[str, Any], options: BaseOptions) -> None:
        self.config, self.recipe = dict(config["network"]), Recipe.of(config["training"], "training")
        self._own, self._seed = own, options.seed
        self.model: nn.Module = own.build(self.config)

    def source(self, group: Communicator, *, batch_size: int) -> BatchSource:
        """QM9 alone."""
        unused = [LabelledGeometry(np.array([6], np.uint8), np.zeros((1, 3), np.float32), {"gap_ev": 7.0})]
        return self._own.fine_tuning_source(
            self.model, [unused], batch_size=batch_size, replay_fraction=1.0, seed=self._seed, device="cpu"
        )

    def look(self) -> dict[str, float]:
        """On a few molecules."""
        return self._own.evaluate(self.model, limit=100)

    def finish(self) -> dict[str, Any]:
        """Calibrate."""
        return self._own.finish(self.model, [])

    def domain(self) -> ModelDomain:
        """What QM9 holds of the elements of the network."""
        data = qm9.load()
        heavy = np.add.reduceat(data.numbers > 1, data.offsets[:-1])
        symbols = tuple(SYMBOLS[number] for number in np.unique(data.numbers))
        return ModelDomain(symbols, (1, int(heavy.max())), {"gap": KnownProperty(qm9.LEVEL, "eV")})
