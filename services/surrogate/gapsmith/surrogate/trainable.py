"""The surrogate as the training loop sees it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from gapsmith.core.errors import InputError
from gapsmith.surrogate import data, sources
from gapsmith.surrogate.batches import MOST_MEMBERS, Batch, MixedSource, ReplaySource
from gapsmith.surrogate.calibration import Calibration, calibrate, residuals
from gapsmith.surrogate.config import DEFAULT, load, parse
from gapsmith.surrogate.inference import Predicted, predict_molecules
from gapsmith.surrogate.loss import losses
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.predictor import KIND
from gapsmith.surrogate.quantities import QUANTITIES, UNITS, base_unit
from gapsmith.training.protocol import BatchSource, LabelledGeometry, Tuned

__all__ = ["KIND", "SurrogateTrainable", "build", "evaluated"]


class SurrogateTrainable:
    """Base training on all sources and fine-tuning on a campaign's labels; see ``gapsmith.training.protocol.Trainable``."""

    kind = KIND

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new network with random weights; raises InputError on unknown, missing or impossible keys."""
        return build(config)

    def default_config(self) -> dict[str, Any]:
        """The configuration of the shipped size."""
        return load(DEFAULT).as_dict()

    def base_source(self, *, batch_size: int, seed: int, device: str) -> BatchSource:
        """The training split of the shipped configuration's sources."""
        return MixedSource(sources.of(load(DEFAULT), "train"), batch_size=batch_size, seed=seed, device=device)

    def fine_tuning_source(
        self, labels: Sequence[LabelledGeometry], *, batch_size: int, replay_fraction: float, seed: int, device: str
    ) -> BatchSource:
        """New labels mixed with QM9; raises InputError if there are none or the share is not in [0, 1)."""
        return ReplaySource(
            labelled(labels),
            data.base_split("train"),
            batch_size=batch_size,
            replay_fraction=replay_fraction,
            seed=seed,
            device=device,
        )

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """With "heads", the trunk stays as it is."""
        cast(SurrogateNetwork, model).trunk.requires_grad_(tuned == "all")

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Absolute errors of all heads for the means, Gaussian likelihood for their noise."""
        return losses(cast(SurrogateNetwork, model), batch)

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """Errors and NLL on the first ``limit`` molecules of QM9's validation split."""
        molecules = data.base_split("validation")
        if limit is not None:
            molecules = molecules.take(np.arange(min(limit, len(molecules))))
        return evaluated(cast(SurrogateNetwork, model), molecules, device)

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """The same on labelled molecules."""
        device = str(next(model.parameters()).device)
        return evaluated(cast(SurrogateNetwork, model), labelled(labels), device)

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """Recalibrate standard deviations, intervals and the out-of-distribution score, in place."""
        return calibrate(cast(SurrogateNetwork, model), labelled(labels) if labels else None)


def build(config: Mapping[str, Any]) -> SurrogateNetwork:
    """A network of that configuration; raises InputError on unknown, missing or impossible keys."""
    wanted = parse(config)
    if wanted.ensemble.members > MOST_MEMBERS:
        raise InputError(f"ensemble.members must be at most {MOST_MEMBERS}, got {wanted.ensemble.members}")
    return SurrogateNetwork(wanted)


def labelled(labels: Sequence[LabelledGeometry]) -> data.Molecules:
    """Labels as molecules; raises InputError if one has no gap."""
    for index, label in enumerate(labels):
        if not np.isfinite(label.targets.get("gap_ev", np.nan)):
            raise InputError(f"label {index} has no finite gap_ev: {dict(label.targets)}")
    return data.from_geometries([(x.numbers, x.coordinates) for x in labels], [x.targets for x in labels])


def evaluated(model: SurrogateNetwork, molecules: data.Molecules, device: str) -> dict[str, float]:
    """``summary`` of what a network says of molecules."""
    known = [name for name in molecules.labelled() if name in model.names]
    return summary(predict_molecules([model], molecules, device=device, wanted=known), Calibration.of(model), molecules)


def summary(predicted: Predicted, calibration: Calibration, molecules: data.Molecules) -> dict[str, float]:
    """Mean absolute errors in base units, and the gap's NLL; quantities that no molecule has are left out."""
    out = {}
    for name in predicted.std:
        error, sigma = residuals(predicted, molecules, name)
        if len(error) == 0:
            continue
        suffix = UNITS[base_unit(QUANTITIES[name].dimension)].suffix
        out[f"{name}_mae_{suffix}"] = float(np.abs(error).mean())
        if name == "gap":
            sigma = calibration.calibrated(sigma, name)
            out["gap_rmse_ev"] = float(np.sqrt((error**2).mean()))
            out["gap_nll"] = float((0.5 * np.log(2 * np.pi * sigma**2) + 0.5 * (error / sigma) ** 2).mean())
    return out
