"""A small real model of the gap: from a molecule's composition alone, on QM9. Trained in the trainer's tests."""

import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.data import qm9
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.judging import Metric
from gapsmith.training.protocol import BaseOptions, BatchSource, LabelledGeometry, Recipe, Tuned

ELEMENTS = (1, 6, 7, 8, 9)
DOMAIN = ModelDomain(("H", "C", "N", "O", "F"), (1, 9), {"gap": KnownProperty(qm9.LEVEL, "eV", 3.3, 10.2)})


def features(numbers: np.ndarray) -> list[float]:
    """Counts of the elements, scaled to about one."""
    return [float((numbers == element).sum()) / 8 for element in ELEMENTS]


@lru_cache(maxsize=1)
def base() -> tuple[np.ndarray, np.ndarray]:
    """Features (molecules, 5) and gaps (molecules,) of QM9, as float32."""
    data = qm9.load()
    counts = np.stack([np.add.reduceat(data.numbers == element, data.offsets[:-1]) for element in ELEMENTS], axis=1)
    return (counts / 8).astype(np.float32), data.properties["gap_ev"].astype(np.float32)


class Network(nn.Module):
    """A gap out of a composition, with one standard deviation for all."""

    sigma_ev: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(len(ELEMENTS), hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.unused = nn.Linear(2, 2)  # no gradient ever: every rank must agree on that
        self.register_buffer("sigma_ev", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(molecules, 5) to (molecules,)."""
        out: Tensor = self.layers(x).squeeze(1) + 6.86
        return out


class Source:
    """New labels and QM9 in fixed shares."""

    def __init__(self, labels: Sequence[LabelledGeometry], batch_size: int, replay_fraction: float, seed: int) -> None:
        self.x = np.array([features(label.numbers) for label in labels], dtype=np.float32).reshape(-1, len(ELEMENTS))
        self.y = np.array([label.targets["gap_ev"] for label in labels], dtype=np.float32)
        self.old = round(batch_size * replay_fraction) if labels else batch_size
        self.new, self.seed = batch_size - self.old, seed

    def batch(self, step: int, *, rank: int = 0, size: int = 1) -> tuple[Tensor, Tensor]:
        """One rank's share."""
        time.sleep(float(os.environ.get("TORCH_COMPOSITION_STEP_S", "0")))  # for tests that interrupt a training
        draw = np.random.default_rng([self.seed, step])
        x, y = base()
        old = draw.choice(qm9.TRAIN, self.old)
        old = qm9.split(len(y))["train"][old]
        new = draw.choice(len(self.y), self.new) if self.new else np.zeros(0, dtype=int)
        inputs, gaps = np.concatenate([x[old], self.x[new]]), np.concatenate([y[old], self.y[new]])
        return torch.from_numpy(inputs[rank::size]), torch.from_numpy(gaps[rank::size])


class CompositionTrainable:
    """See ``gapsmith.training.protocol.Trainable``."""

    role = architecture = "composition"
    judged_by: tuple[Metric, ...] = (
        Metric(name="gap_mae_ev", title="gap MAE", unit=" eV", base_margin=0.05, label_cap=0.2, absolute_error=True),
        Metric(name="gap_nll", title="NLL", base_margin=0.1, label_cap=0.5, relative=False),
    )

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new network."""
        return Network(config["hidden"])

    def load(self, weights: Path, *, device: str = "cpu") -> nn.Module:
        """The network; no service uses it."""
        model = self.build(read_card(weights, role=self.role)["config"])
        load_weights(model, weights)
        return model.to(device)

    def default_config(self) -> dict[str, Any]:
        """Small."""
        training = {
            "batch_size": 64,
            "optimizer": "adamw",
            "learning_rate": 1e-2,
            "weight_decay": 1e-5,
            "warmup_steps": 5,
            "ema_decay": 0.9,
        }
        return {"network": {"hidden": 16}, "training": training}

    def base_training(self, config: Mapping[str, Any], options: BaseOptions) -> "Base":
        """On QM9."""
        return Base(config, options)

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
        return Source([label for some in labels for label in some], batch_size, replay_fraction, seed)

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """With "heads", the first layer stays as it is."""
        assert isinstance(model, Network)
        model.layers[0].requires_grad_(tuned == "all")

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean squared error."""
        x, y = batch
        return {"loss": (model(x) - y).square().mean()}

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """On QM9's validation split."""
        x, y = base()
        chosen = qm9.split(len(y))["validation"][:limit]
        return metrics(model, x[chosen], y[chosen])

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """On labels."""
        x = np.array([features(label.numbers) for label in labels], dtype=np.float32)
        return metrics(model, x, np.array([label.targets["gap_ev"] for label in labels], dtype=np.float32))

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """The standard deviation is the error on validation data."""
        sigma = self.evaluate(model, limit=1000)["gap_rmse_ev"]
        model.state_dict()["sigma_ev"].fill_(sigma)
        return {"sigma_ev": sigma}


class Base:
    """See ``gapsmith.training.protocol.BaseTraining``."""

    def __init__(self, config: Mapping[str, Any], options: BaseOptions) -> None:
        self.config, self.recipe, self._seed = (
            config["network"],
            Recipe.of(config["training"], "training"),
            options.seed,
        )
        self.model: nn.Module = Network(self.config["hidden"])

    def source(self, group: Communicator, *, batch_size: int) -> BatchSource:
        """QM9 alone."""
        return Source([], batch_size, 1.0, self._seed)

    def domain(self) -> ModelDomain:
        """QM9's molecules."""
        return DOMAIN

    def look(self) -> dict[str, float]:
        """On a few molecules."""
        return CompositionTrainable().evaluate(self.model, limit=500)

    def finish(self) -> dict[str, Any]:
        """Calibrate and measure."""
        calibration = CompositionTrainable().finish(self.model, [])
        return {"data": "QM9", "calibration": calibration, "metrics": CompositionTrainable().evaluate(self.model)}


@torch.no_grad()
def metrics(model: nn.Module, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Errors and Gaussian NLL."""
    error = (model(torch.from_numpy(x)).numpy() - y).astype(np.float64)
    sigma = float(model.state_dict()["sigma_ev"])
    return {
        "gap_mae_ev": float(np.abs(error).mean()),
        "gap_rmse_ev": float(np.sqrt((error**2).mean())),
        "gap_nll": float((0.5 * (error / sigma) ** 2).mean() + np.log(sigma) + 0.5 * np.log(2 * np.pi)),
    }
