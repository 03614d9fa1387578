"""Base training of the surrogate: from nothing, on the sources that its configuration names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import find
from gapsmith.datastore.grouped import GroupedSource, open_store
from gapsmith.datastore.shards import Index
from gapsmith.datastore.store import SampleStore
from gapsmith.surrogate import ROLE, sources
from gapsmith.surrogate.bases import begin_from, begin_with_bases, contrasted
from gapsmith.surrogate.batches import MOST_MEMBERS, MixedSource, Share
from gapsmith.surrogate.calibration import VALIDATION, calibrate
from gapsmith.surrogate.config import Config, parse
from gapsmith.surrogate.loss import normalise
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.noise import refit
from gapsmith.surrogate.stored import StoredShare, StoredSource, labelled, write_molecules
from gapsmith.surrogate.summary import evaluated
from gapsmith.training.checkpoint import fill, read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.protocol import BaseOptions, BatchSource, Recipe

HELD_OUT = {"train": "validation", "first": "second"}  # what shows how good a training on a split is
TAILS_PERCENT = (0.1, 99.9)  # of the training data: the range of a property in the domain
LOOKED_AT = 1000  # held-out molecules, while it trains
MEASURED = 10_000  # at the end


def build(config: Mapping[str, Any]) -> SurrogateNetwork:
    """A network of that configuration; raises InputError on unknown, missing or impossible keys."""
    wanted = parse(config)
    if wanted.ensemble.members > MOST_MEMBERS:
        raise InputError(f"ensemble.members must be at most {MOST_MEMBERS}, got {wanted.ensemble.members}")
    return SurrogateNetwork(wanted)


def domain_of(config: Config, sets: Sequence[Molecules]) -> ModelDomain:
    """Elements and sizes of some molecules, and the quantities of molecules that a configuration has heads of."""
    numbers = np.unique(np.concatenate([some.numbers for some in sets]))
    heavy = np.concatenate([np.add.reduceat(some.numbers > 1, some.offsets[:-1]) for some in sets])
    properties = {}
    for name, head in config.heads.items():
        if head.level != "graph":
            continue
        values = np.concatenate([some.target(name) for some in sets])
        values = values[np.isfinite(values)] / head.known_unit.in_base
        low, high = np.percentile(values, TAILS_PERCENT) if len(values) else (None, None)
        properties[name] = KnownProperty(
            find(head.sources[0]).labels[name].level,
            head.unit,
            None if low is None else float(low),
            None if high is None else float(high),
        )
    symbols = tuple(SYMBOLS[number] for number in numbers)
    return ModelDomain(symbols, (max(1, int(heavy.min())), int(heavy.max())), properties)


class SurrogateBase:
    """See ``gapsmith.training.protocol.BaseTraining``."""

    def __init__(self, config: Mapping[str, Any], options: BaseOptions) -> None:
        self._options, self._split = options, options.split or "train"
        if self._split not in HELD_OUT:
            raise InputError(f"the surrogate has no split {self._split!r}: train, or first (of EDM's halves)")
        self._parsed, contrast = contrasted(parse(config), options.contrast, options.start)
        self.config = self._parsed.as_dict()
        if self._parsed.trunk.electronic and options.storage != "memory":
            raise InputError(
                f"trunk.electronic needs --storage memory: bond orders are not in shards, got {options.storage}"
            )
        self.recipe = Recipe(**{name: self.config["training"][name] for name in Recipe.__dataclass_fields__})
        self.model = build(self.config)
        self._about: list[dict[str, Any]] = []
        self._domain: ModelDomain | None = None
        self._start: dict[str, Any] | None = None
        if options.start is not None:
            self._start = read_card(options.start, role=ROLE)
            begin_from(self.model, options.start, self._start["config"]["heads"])
        if self.model.contrast is not None:
            fill(self.model.contrast, contrast, options.contrast or Path(str(options.start)))
        self.model.to(options.device)
        if options.device != "cpu":
            torch.set_float32_matmul_precision("high")  # TF32
            self.model.trunk.low_precision = not options.full_precision
        if options.compiled:
            self.model.compiled = True
            for interaction in self.model.trunk.interactions:
                interaction.compile(dynamic=True)

    def source(self, group: Communicator, *, batch_size: int) -> BatchSource:
        """All sources in fixed shares, in every rank's memory, or in shards that the ranks divide or read from disk."""
        options, bootstrap = self._options, self._parsed.ensemble.bootstrap
        if options.storage == "memory":
            shares = self._shares()
            return MixedSource(
                shares, batch_size=batch_size, seed=options.seed, device=options.device, bootstrap=bootstrap
            )
        folder = options.shards
        if folder is None:
            raise InputError(f"storage {options.storage} needs a folder for the shards")
        if group.rank == 0:
            for name, share in self._shares().items():
                write_molecules(folder / name, [share.molecules])
        group.barrier()
        indices = {name: Index.read(folder / name) for name in self._parsed.sources}

        def opened() -> tuple[BatchSource, list[SampleStore]]:
            stores = {name: open_store(x, group, options.storage, options.replicas) for name, x in indices.items()}
            shares = {
                name: StoredShare(stores[name], labelled(indices[name]), source.share, source.noise_angstrom)
                for name, source in self._parsed.sources.items()
            }
            source = StoredSource(
                shares, batch_size=batch_size, seed=options.seed, device=options.device, bootstrap=bootstrap
            )
            return source, list(stores.values())

        return GroupedSource(group, opened)

    def _shares(self) -> dict[str, Share]:
        shares = sources.of(self._parsed, self._split, self._options.molecules)
        self._about = sources.about(shares, self._split)
        sets = [share.molecules for share in shares.values()]
        self._domain = domain_of(self._parsed, sets)
        if self._start is None:
            normalise(self.model, sets)
            self.model.to(self._options.device)
        else:
            begin_with_bases(self.model, sets)
        return shares

    def domain(self) -> ModelDomain:
        """What all sources hold; raises InputError before ``source`` has read them."""
        if self._domain is None:
            raise InputError("the domain is known after the training data were read")
        return self._domain

    def look(self) -> dict[str, float]:
        """Errors on a thousand held-out molecules."""
        return evaluated(self.model, self._held_out(LOOKED_AT), self._options.device)

    def _held_out(self, most: int) -> Molecules:
        """Molecules of the first source that are not trained on."""
        found = sources.main(self._parsed, HELD_OUT[self._split])
        return found.take(np.arange(min(self._options.molecules or most, len(found))))

    def finish(self) -> dict[str, Any]:
        """Fit the noise once more, calibrate, measure."""
        model, options = self.model, self._options
        model.trunk.low_precision = False  # what is measured and shipped computes in full precision
        splits = (self._split, HELD_OUT[self._split])
        held_out = self._held_out(MEASURED)
        if len(held_out) > VALIDATION:
            refit(model, held_out.take(np.arange(VALIDATION, len(held_out))), device=options.device)
        calibration = calibrate(model, most=options.molecules or VALIDATION, splits=splits)
        begun = None if self._start is None else {"begun_from": {"sha256": self._start["sha256"]}}
        return {
            "description": f"predicts {', '.join(self._parsed.heads)} with error bars",
            "data": ", ".join(one["title"] for one in self._about),
            "sources": self._about,
            "calibration": calibration,
            "held_out": {"split": splits[1], **evaluated(model, held_out, options.device)},
            **(begun or {}),
        }
