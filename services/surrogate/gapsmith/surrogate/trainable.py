"""The surrogate as the training loop sees it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import InputError
from gapsmith.data.imported import AT
from gapsmith.data.molecules import Molecules
from gapsmith.surrogate import ARCHITECTURE, ROLE, data, own_heads, sources
from gapsmith.surrogate.base import SurrogateBase, build
from gapsmith.surrogate.batches import Batch, ReplaySource
from gapsmith.surrogate.calibration import calibrate
from gapsmith.surrogate.config import DEFAULT, Config, load
from gapsmith.surrogate.loss import losses
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.predictor import Predictor
from gapsmith.surrogate.summary import evaluated
from gapsmith.training.judging import Metric
from gapsmith.training.protocol import BaseOptions, BaseTraining, BatchSource, LabelledGeometry, Tuned

__all__ = ["SurrogateTrainable", "build", "evaluated"]


class SurrogateTrainable:
    """Base training on all sources and fine-tuning on a campaign's labels; see ``gapsmith.training.protocol.Trainable``."""

    role, architecture = ROLE, ARCHITECTURE
    judged_by: tuple[Metric, ...] = (
        Metric(
            "{head}_mae{suffix}", "{noun} MAE", base_margin=0.05, label_cap=0.2, unit=" {unit}", absolute_error=True
        ),
        Metric("{head}_nll", "{noun} NLL", base_margin=0.1, label_cap=0.5, relative=False),  # nats
    )

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """A new network with random weights; raises InputError on unknown, missing or impossible keys."""
        return build(config)

    def load(self, weights: Path, *, device: str = "cpu") -> Predictor:
        """The network with error bars; raises CheckpointError."""
        return Predictor.load(weights, device=device)

    def default_config(self) -> dict[str, Any]:
        """The configuration of the shipped size."""
        return load(DEFAULT).as_dict()

    def base_training(self, config: Mapping[str, Any], options: BaseOptions) -> BaseTraining:
        """On all sources of the configuration; raises InputError, DataError or CheckpointError."""
        return SurrogateBase(config, options)

    def widened(self, config: Mapping[str, Any], data: Sequence[str]) -> dict[str, Any]:
        """With a head for each level of the data sets; raises InputError or NotFound."""
        return own_heads.widened(config, data)

    def extended(self, weights: Path, config: Mapping[str, Any], data: Sequence[str]) -> nn.Module:
        """See ``own_heads.extended``; raises InputError, NotFound or CheckpointError."""
        return own_heads.extended(weights, config, data)

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
        """New labels and the model's first source; raises InputError without labels, or if the share is not in [0, 1)."""
        config = cast(SurrogateNetwork, model).config
        return ReplaySource(
            [labelled(some, config) for some in labels],
            sources.main(config, "train"),
            batch_size=batch_size,
            replay_fraction=replay_fraction,
            seed=seed,
            device=device,
        )

    def freeze(self, model: nn.Module, tuned: Tuned) -> None:
        """With "heads", the trunk stays as it is; with "own", all but heads of levels of their own."""
        network = cast(SurrogateNetwork, model)
        network.trunk.requires_grad_(tuned == "all")
        if tuned == "own":
            network.requires_grad_(False)
            for name in network.heads:
                network.head(name).requires_grad_(AT in name)

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Absolute errors of all heads for the means, Gaussian likelihood for their noise."""
        return losses(cast(SurrogateNetwork, model), batch)

    def evaluate(self, model: nn.Module, *, limit: int | None = None, device: str = "cpu") -> dict[str, float]:
        """Errors and NLL on the first ``limit`` molecules of the first source's validation split."""
        molecules = sources.main(cast(SurrogateNetwork, model).config, "validation")
        if limit is not None:
            molecules = molecules.take(np.arange(min(limit, len(molecules))))
        return evaluated(cast(SurrogateNetwork, model), molecules, device)

    def evaluate_labels(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, float]:
        """The same on labelled molecules; nothing of those whose electronic structure it needs and GFN2-xTB lacks."""
        network = cast(SurrogateNetwork, model)
        known = network.config.elements
        for index, label in enumerate(labels):
            if strange := sorted({SYMBOLS[number] for number in label.numbers} - set(known)):
                raise InputError(f"label {index} contains {', '.join(strange)}; the network knows {', '.join(known)}")
        molecules = labelled(labels, network.config)
        return evaluated(network, molecules, str(next(model.parameters()).device)) if len(molecules) else {}

    def finish(self, model: nn.Module, labels: Sequence[LabelledGeometry]) -> dict[str, Any]:
        """Recalibrate standard deviations, intervals and the out-of-distribution score, in place."""
        network = cast(SurrogateNetwork, model)
        return {"calibration": calibrate(network, labelled(labels, network.config) if labels else None)}


def labelled(labels: Sequence[LabelledGeometry], config: Config) -> Molecules:
    """Labels as molecules, as a network of that configuration sees them.

    Raises:
        InputError: one has no value of any quantity.
    """
    for index, label in enumerate(labels):
        known = [value for name, value in label.targets.items() if name in data.columns() or AT in name]
        if not np.isfinite(known).any():
            raise InputError(f"label {index} has no finite value that a head could learn: {dict(label.targets)}")
    found = data.from_geometries([(x.numbers, x.coordinates) for x in labels], [x.targets for x in labels])
    return found.seen() if config.trunk.electronic else found
