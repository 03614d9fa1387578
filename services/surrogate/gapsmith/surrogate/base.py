"""Base training of the surrogate: from nothing, on QM9 and what else its configuration names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.data import qm9
from gapsmith.datastore.grouped import GroupedSource, open_store
from gapsmith.datastore.shards import Index
from gapsmith.datastore.store import SampleStore
from gapsmith.surrogate import ROLE, data, sources
from gapsmith.surrogate.batches import MOST_MEMBERS, MixedSource, Share
from gapsmith.surrogate.calibration import VALIDATION, calibrate
from gapsmith.surrogate.config import Config, parse
from gapsmith.surrogate.loss import normalise
from gapsmith.surrogate.network import SurrogateNetwork
from gapsmith.surrogate.noise import refit
from gapsmith.surrogate.quantities import QUANTITIES
from gapsmith.surrogate.stored import StoredShare, StoredSource, labelled, write_molecules
from gapsmith.surrogate.summary import evaluated
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.communicator import Communicator
from gapsmith.training.protocol import BaseOptions, BatchSource, Recipe

HELD_OUT = {"train": "validation", "first": "second"}  # what shows how good a training on a split is
DESCRIPTIONS = {
    "train": "predicts properties of molecules of H, C, N, O and F with error bars",
    "first": "judges generators: learned from EDM's first half of QM9, takes no part in campaigns",
}
TAILS_PERCENT = (0.1, 99.9)  # of the training data: the range of a property in the domain
LOOKED_AT = 1000  # molecules, while it trains


def build(config: Mapping[str, Any]) -> SurrogateNetwork:
    """A network of that configuration; raises InputError on unknown, missing or impossible keys."""
    wanted = parse(config)
    if wanted.ensemble.members > MOST_MEMBERS:
        raise InputError(f"ensemble.members must be at most {MOST_MEMBERS}, got {wanted.ensemble.members}")
    return SurrogateNetwork(wanted)


def domain_of(config: Config, sets: Sequence[data.Molecules]) -> ModelDomain:
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
            QUANTITIES[name].method,
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
        self._parsed: Config = parse(config)
        self.config = self._parsed.as_dict()
        self.recipe = Recipe(**{name: self.config["training"][name] for name in Recipe.__dataclass_fields__})
        self.model = build(config)
        self._counts: dict[str, int] = {}
        self._domain: ModelDomain | None = None
        self._start: dict[str, Any] | None = None
        if options.start is not None:
            self._start = read_card(options.start, role=ROLE)
            load_weights(self.model, options.start)
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
        self._counts = {name: len(index) for name, index in indices.items()}

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
        self._counts = {name: len(share.molecules) for name, share in shares.items()}
        self._domain = domain_of(self._parsed, [share.molecules for share in shares.values()])
        if self._start is None:
            normalise(self.model, [share.molecules for share in shares.values()])
            self.model.to(self._options.device)
        return shares

    def domain(self) -> ModelDomain:
        """What all sources hold; raises InputError before ``source`` has read them."""
        if self._domain is None:
            raise InputError("the domain is known after the training data were read")
        return self._domain

    def look(self) -> dict[str, float]:
        """Errors on a thousand held-out molecules."""
        some = data.base_split(HELD_OUT[self._split]).take(np.arange(self._options.molecules or LOOKED_AT))
        return evaluated(self.model, some, self._options.device)

    def finish(self) -> dict[str, Any]:
        """Fit the noise once more, calibrate, measure."""
        model, options = self.model, self._options
        model.trunk.low_precision = False  # what is measured and shipped computes in full precision
        splits = (self._split, HELD_OUT[self._split])
        held_out = data.base_split(splits[1])
        held_out = held_out.take(np.arange(min(options.molecules or qm9.VALIDATION, len(held_out))))
        if len(held_out) > VALIDATION:
            refit(model, held_out.take(np.arange(VALIDATION, len(held_out))), device=options.device)
        calibration = calibrate(model, most=options.molecules or VALIDATION, splits=splits)
        whole = len(data.base())
        named = qm9.split(whole) if self._split == "train" else {"first": qm9.edm_halves(whole)["first"]}
        begun = None if self._start is None else {"begun_from": {"sha256": self._start["sha256"]}}
        return {
            "description": DESCRIPTIONS[self._split],
            "data": f"QM9, {qm9.LEVEL}" + (", and GFN2-xTB" if len(self._parsed.sources) > 1 else ""),
            "molecules": self._counts,
            "split_sha256": {name: qm9.split_hash(indices) for name, indices in named.items()},
            "calibration": calibration,
            "held_out": {"split": splits[1], **evaluated(model, held_out, options.device)},
            **(begun or {}),
        }
