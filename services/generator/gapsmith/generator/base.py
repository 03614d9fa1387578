"""Base training of the generator: from nothing or from given weights, on QM9."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from gapsmith.core.errors import InputError
from gapsmith.generator import network
from gapsmith.generator.data import MoleculeSource, load_split
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.protocol import BaseOptions, BatchSource, Recipe, Trainable

KIND = "generator"
TRAINING_SPLIT = "second"  # networks that judge the generator learn from the first half
EVALUATED = 2048  # validation molecules, at the end
LOOKED_AT = 256  # and while it trains
TRAINING = {  # of the shipped weights
    "batch_size": 64,
    "optimizer": "muon",
    "learning_rate": 8e-4,
    "weight_decay": 1e-5,
    "warmup_steps": 200,
    "ema_decay": 0.999,
}


def default_config() -> dict[str, Any]:
    """Network and training of the shipped weights."""
    return {"network": network.default_config(), "training": dict(TRAINING)}


class GeneratorBase:
    """See ``gapsmith.training.protocol.BaseTraining``."""

    def __init__(self, config: Mapping[str, Any], options: BaseOptions, kind: Trainable) -> None:
        if wrong := sorted(config.keys() ^ default_config().keys()):
            raise InputError(
                f"configuration of the generator: {', '.join(wrong)} unknown or missing; network, training"
            )
        if options.split not in (None, TRAINING_SPLIT):
            raise InputError(
                f"the generator learns from EDM's second half of QM9 ({TRAINING_SPLIT}), not {options.split}"
            )
        if options.storage != "memory":
            raise InputError(
                "the generator's data (50,000 molecules, 30 MB) lies in memory; leave the storage as it is"
            )
        self._options, self._kind = options, kind
        self.config = dict(config["network"])
        self.recipe = Recipe.of(config["training"], "training")
        self._start: dict[str, Any] | None = None
        if options.start is not None:
            self._start = read_card(options.start, kind=KIND)
            self.config = dict(self._start["config"])  # sizes come with the weights
        self.model: nn.Module = network.build(self.config)
        if options.start is not None:
            load_weights(self.model, options.start)
        self.model.to(options.device)
        if options.device != "cpu" and not options.full_precision:
            torch.set_float32_matmul_precision("high")  # TF32
        if options.compiled:
            self.model.compile(dynamic=True)

    def source(self, group: Communicator, *, batch_size: int) -> BatchSource:
        """The second of EDM's halves of QM9, as far as its bonds could be assigned."""
        if group.rank == 0:
            load_split(TRAINING_SPLIT)  # made once, if it is not there
        group.barrier()
        molecules = load_split(TRAINING_SPLIT)
        if self._options.molecules is not None:
            molecules = molecules.select(np.arange(min(self._options.molecules, len(molecules))))
        options = self._options
        return MoleculeSource(molecules, batch_size=batch_size, seed=options.seed, device=options.device)

    def look(self) -> dict[str, float]:
        """Denoising losses on some validation molecules."""
        return self._kind.evaluate(self.model, limit=LOOKED_AT, device=self._options.device)

    def finish(self) -> dict[str, Any]:
        """What sampling needs, and the losses on validation molecules."""
        begun = None
        if self._start is not None:
            begun = {"begun_from": {"sha256": self._start["sha256"], "training": self._start.get("training")}}
        return {
            "description": "masked equivariant diffusion of molecules with bonds, conditioned on the gap and others",
            **self._kind.finish(self.model, []),
            "metrics": self._kind.evaluate(self.model, limit=EVALUATED, device=self._options.device),
            **(begun or {}),
        }
