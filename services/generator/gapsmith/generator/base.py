"""Base training of the generator: from nothing or from given weights, on QM9."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.data import qm9
from gapsmith.generator import network
from gapsmith.generator.data import CACHED, Molecules, MoleculeSource, load_split
from gapsmith.generator.sizes import Sizes
from gapsmith.generator.vocabulary import Vocabulary
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.protocol import BaseOptions, BatchSource, Recipe, Trainable

TRAINING_SPLIT = "second"  # networks that judge the generator learn from the first half
EVALUATED = 2048  # validation molecules, at the end
UNIT_OF_SUFFIX = {"ev": "eV", "debye": "D", "bohr3": "bohr^3"}  # of a property's name
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


def domain_of(molecules: Molecules, vocabulary: Vocabulary) -> ModelDomain:
    """Elements, sizes and properties of some molecules of QM9."""
    there = np.arange(molecules.atoms.shape[1]) < molecules.sizes[:, None]
    numbers = {1, *np.unique(vocabulary.number_of_token[molecules.atoms[there]]).tolist()}  # hydrogens follow
    ranges = Sizes.of(molecules, vocabulary.names).tables
    properties = {}
    for name, table in ranges.items():
        plain, _, unit = name.rpartition("_")
        properties[plain] = KnownProperty(qm9.LEVEL, UNIT_OF_SUFFIX[unit], *table.range)
    symbols = tuple(SYMBOLS[number] for number in sorted(numbers))
    return ModelDomain(symbols, (int(molecules.sizes.min()), int(molecules.sizes.max())), properties)


class GeneratorBase:
    """See ``gapsmith.training.protocol.BaseTraining``."""

    def __init__(self, config: Mapping[str, Any], options: BaseOptions, trainable: Trainable) -> None:
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
        self._options, self._trainable = options, trainable
        self.config = dict(config["network"])
        self.recipe = Recipe.of(config["training"], "training")
        if options.contrast is not None:
            raise InputError("--contrast is for surrogates: a generator has no predictions to compare")
        self._start: dict[str, Any] | None = None
        if options.start is not None:
            self._start = read_card(options.start, role=trainable.role)
            self.config = dict(self._start["config"])  # sizes come with the weights
        denoiser = network.build(self.config)
        self.model: nn.Module = denoiser
        self._vocabulary = denoiser.vocabulary
        if strange := [name for name in self._vocabulary.names if name not in CACHED]:
            raise InputError(f"the training data has no {', '.join(strange)}; it has {', '.join(CACHED)}")
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
            load_split(TRAINING_SPLIT, self._vocabulary)  # made once, if it is not there
        group.barrier()
        molecules = load_split(TRAINING_SPLIT, self._vocabulary)
        if self._options.molecules is not None:
            molecules = molecules.select(np.arange(min(self._options.molecules, len(molecules))))
        options = self._options
        return MoleculeSource(molecules, batch_size=batch_size, seed=options.seed, device=options.device)

    def domain(self) -> ModelDomain:
        """What the training split holds."""
        return domain_of(load_split(TRAINING_SPLIT, self._vocabulary), self._vocabulary)

    def look(self) -> dict[str, float]:
        """Denoising losses on some validation molecules."""
        return self._trainable.evaluate(self.model, limit=LOOKED_AT, device=self._options.device)

    def finish(self) -> dict[str, Any]:
        """What sampling needs, and the losses on validation molecules."""
        begun = None
        if self._start is not None:
            begun = {"begun_from": {"sha256": self._start["sha256"], "training": self._start.get("training")}}
        return {
            "description": "masked equivariant diffusion of molecules with bonds, conditioned on the gap and others",
            **self._trainable.finish(self.model, []),
            "metrics": self._trainable.evaluate(self.model, limit=EVALUATED, device=self._options.device),
            **(begun or {}),
        }
