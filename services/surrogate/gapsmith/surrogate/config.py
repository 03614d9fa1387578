"""A network's configuration: one mapping, from YAML, JSON or a model's card, of which every key is checked.

Plain dataclasses, so that training needs nothing beyond torch, numpy and safetensors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from gapsmith.core.chemistry.elements import SYMBOLS, number_of
from gapsmith.core.documents import read, shown
from gapsmith.core.errors import InputError
from gapsmith.core.units import UNITS, Unit
from gapsmith.data.imported import AT
from gapsmith.data.sources import find, registered
from gapsmith.surrogate.quantities import ENERGY_OF_FORCES, FORCES, FRONTIER, quantities, stem
from gapsmith.surrogate.quantities import quantity as quantity_of

FOLDER: Final = Path(__file__).parent / "configs"
DEFAULT: Final = FOLDER / "default.yaml"
BASES: Final = ("none", "affine", "quadratic")


@dataclass(frozen=True)
class TrunkConfig:
    """The shared part of the network."""

    layer: str  # kind of message passing, one of layers.LAYERS
    layers: int
    features: int  # scalars of an atom
    vector_features: int  # vectors of an atom
    radial: int  # functions of the distance
    cutoff_angstrom: float
    attention_heads: int  # of GraphGPS attention beside each layer; 0 for none
    latent: int  # features that the heads see
    electronic: bool  # whether it sees GFN2-xTB's electronic structure beside the geometry


@dataclass(frozen=True)
class EnsembleConfig:
    """The last layers of every head."""

    members: int
    bootstrap: bool  # every member has its own weights of the training molecules


@dataclass(frozen=True)
class SourceConfig:
    """One set of training data."""

    share: float  # of every batch, before the shares are made to add up to one
    noise_angstrom: float  # standard deviation of Gaussian noise on the coordinates


@dataclass(frozen=True)
class HeadConfig:
    """One predicted quantity."""

    level: str  # graph or node
    unit: str  # of what is reported
    weight: float  # in the loss, where errors are in standard deviations of the quantity
    sources: tuple[str, ...]  # that train it
    base: str = "none"  # fit of GFN2-xTB's HOMO and LUMO to which the network adds: affine, quadratic

    @property
    def known_unit(self) -> Unit:
        """The unit's dimension and size."""
        return UNITS[self.unit]


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found."""

    batch_size: int
    optimizer: str  # adamw, or muon: fewer steps, each of which costs more
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    ema_decay: float
    task_weights: str  # fixed, or learnt: by the tasks' own noise


MOST_WHOLE: Final = 1_000_000  # of any whole number of a configuration
LARGEST: Final = 1e9  # of any other number


@dataclass(frozen=True)
class Config:
    """All of it."""

    elements: tuple[str, ...]  # symbols by atomic number: what the network has embeddings of
    trunk: TrunkConfig
    ensemble: EnsembleConfig
    sources: dict[str, SourceConfig]
    heads: dict[str, HeadConfig]
    training: TrainingConfig
    contrast: "Config | None" = None  # of a network without GFN2-xTB's electronic structure, see ``SurrogateNetwork``

    def as_dict(self) -> dict[str, Any]:
        """What ``parse`` takes, as JSON would hold it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(replace(self, contrast=None))))
        del plain["contrast"]
        return plain if self.contrast is None else {**plain, "contrast": self.contrast.as_dict()}

    @property
    def most_element(self) -> int:
        """The largest atomic number."""
        return number_of(self.elements[-1])

    def column(self, head: str) -> str:
        """Name with unit, e.g. ``gap_ev``."""
        return f"{stem(head)}_{self.heads[head].known_unit.suffix}"


def load(path: Path) -> Config:
    """Read and check a file; raises InputError naming the file and the key."""
    raw = read(path)
    try:
        return parse(raw)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse(raw: Mapping[str, Any], *, trained: bool = False) -> Config:
    """Check a configuration.

    Args:
        raw: as files and cards have it.
        trained: of a model that is only used: its sources need not be installed.

    Raises:
        InputError: a key is unknown (the nearest known one is named) or missing, a value is of another type or out of
            range, a unit does not exist or does not fit its head, a head has no source of labels.
    """
    keys = ("elements", "trunk", "ensemble", "sources", "heads", "training", "contrast")
    top = _section(raw, "", keys, optional=("contrast",))
    trunk = _section(top["trunk"], "trunk", tuple(TrunkConfig.__dataclass_fields__))
    ensemble = _section(top["ensemble"], "ensemble", tuple(EnsembleConfig.__dataclass_fields__))
    training = _section(top["training"], "training", tuple(TrainingConfig.__dataclass_fields__))
    config = Config(
        elements=_elements(top["elements"]),
        trunk=TrunkConfig(
            layer=_text(trunk, "trunk", "layer", ("painn", "equivariant_transformer")),
            cutoff_angstrom=_number(trunk, "trunk", "cutoff_angstrom", above=0.5),
            attention_heads=_whole(trunk, "trunk", "attention_heads", least=0),
            electronic=_flag(trunk, "trunk", "electronic"),
            **{
                key: _whole(trunk, "trunk", key)
                for key in ("layers", "features", "vector_features", "radial", "latent")
            },
        ),
        ensemble=EnsembleConfig(
            members=_whole(ensemble, "ensemble", "members"), bootstrap=_flag(ensemble, "ensemble", "bootstrap")
        ),
        sources=_sources(top["sources"], trained),
        heads={},
        training=TrainingConfig(
            batch_size=_whole(training, "training", "batch_size"),
            warmup_steps=_whole(training, "training", "warmup_steps", least=0),
            learning_rate=_number(training, "training", "learning_rate", above=0),
            weight_decay=_number(training, "training", "weight_decay", least=0),
            ema_decay=_number(training, "training", "ema_decay", least=0, below=1),
            optimizer=_text(training, "training", "optimizer", ("adamw", "muon")),
            task_weights=_text(training, "training", "task_weights", ("fixed", "learnt")),
        ),
        contrast=parse(top["contrast"], trained=True) if "contrast" in top else None,
    )
    for key, heads in (("features", config.trunk.attention_heads), ("latent", 8)):
        if heads and getattr(config.trunk, key) % heads:
            raise InputError(f"trunk.{key} must be a multiple of {heads}, got {getattr(config.trunk, key)}")
    if config.trunk.layer == "equivariant_transformer" and (
        config.trunk.features % 8 or config.trunk.vector_features % 8
    ):
        raise InputError(
            "trunk.features and trunk.vector_features of an equivariant_transformer must be multiples of 8"
        )
    config.heads.update(_heads(top["heads"], config.sources, trained))
    if config.trunk.electronic and FORCES in config.heads:
        raise InputError(f"trunk.electronic does not go with {FORCES}: the inputs have no known gradient")
    if config.contrast is not None:
        _check_contrast(config, config.contrast)
    for name, head in config.heads.items():
        if head.base != "none" and not config.trunk.electronic:
            raise InputError(f"heads.{name}.base needs trunk.electronic: true")
    return config


def _check_contrast(config: Config, contrast: Config) -> None:
    if not config.trunk.electronic or contrast.trunk.electronic or contrast.contrast is not None:
        raise InputError("contrast must see the geometry alone, and belongs to a network with trunk.electronic: true")
    if missing := set(config.elements) - set(contrast.elements):
        raise InputError(f"contrast does not know {', '.join(sorted(missing))}")


def _elements(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str) or not isinstance(raw, Sequence) or not raw:
        raise InputError(f"elements must be a list of symbols, for example [H, C, N, O, F], got {shown(raw)}")
    try:
        return tuple(SYMBOLS[number] for number in sorted({number_of(str(one)) for one in raw}))
    except InputError as error:
        raise InputError(f"elements: {error}") from error


def _sources(raw: Any, trained: bool) -> dict[str, SourceConfig]:
    found, order = {}, list(registered())
    for name, section in _named(raw, "sources", order).items():
        kind = name.partition(":")[0]
        if not trained:
            _known(kind, order, "sources")
        where = f"sources.{name}"
        values = _section(section, where, tuple(SourceConfig.__dataclass_fields__))
        found[name] = SourceConfig(
            _number(values, where, "share", above=0), _number(values, where, "noise_angstrom", least=0)
        )
    rank = {kind: place for place, kind in enumerate(order)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0].partition(":")[0], len(rank)), item[0])))


def _heads(raw: Any, sources: Mapping[str, SourceConfig], trained: bool) -> dict[str, HeadConfig]:
    found, known = {}, quantities()
    for name, section in _named(raw, "heads", tuple(known)).items():
        if AT not in str(name):  # a head of a level of its own has any level's name
            _known(str(name), tuple(known), "heads")
        where, quantity = f"heads.{name}", quantity_of(name)
        values = _section(section, where, tuple(HeadConfig.__dataclass_fields__), optional=("base",))
        base = _text(values, where, "base", BASES) if "base" in values else "none"
        if base != "none" and (quantity.form != "intensive" or name == "lumo"):
            raise InputError(f"{where}.base: only HOMO, gap and their like have one, got {base!r}")
        unit = _text(values, where, "unit", tuple(UNITS))
        if UNITS[unit].dimension != quantity.dimension:
            fitting = [key for key, other in UNITS.items() if other.dimension == quantity.dimension]
            raise InputError(f"{where}.unit: {unit} is not a unit of {quantity.dimension}; use {' or '.join(fitting)}")
        if _text(values, where, "level", ("graph", "node")) != quantity.kind:
            raise InputError(f"{where}.level: a {name} is predicted per {quantity.kind}, got {shown(values['level'])}")
        own = values["sources"]
        if isinstance(own, str) or not isinstance(own, Sequence) or not own:
            raise InputError(f"{where}.sources must be a list of sources, got {shown(own)}")
        for source in own:
            _known(str(source), tuple(sources), f"{where}.sources")
        if not trained:
            _check_labels(name, own)
        found[name] = HeadConfig(quantity.kind, unit, _number(values, where, "weight", above=0), tuple(own), base)
    if "gap" not in found:
        raise InputError("heads lacks gap, which the loop searches by")
    if "lumo" in found and "homo" not in found:
        raise InputError(f"heads lacks homo: of {', '.join(FRONTIER)} the LUMO is the sum of the others")
    if FORCES in found and ENERGY_OF_FORCES not in found:
        raise InputError(f"heads lacks {ENERGY_OF_FORCES}, whose gradient {FORCES} is")
    for source in sources:
        if not any(source in head.sources for head in found.values()):
            raise InputError(f"sources.{source} trains no head; name it in a head's sources or leave it out")
    order = (*known, *sorted(name for name in found if AT in name))
    return {name: found[name] for name in order if name in found}  # one order, however the file is sorted


def _known(key: str, known: Sequence[str], where: str) -> None:
    if key not in known:
        plain = {name.lower(): name for name in known}
        near = get_close_matches(key.lower(), plain, n=1)
        hint = f"did you mean {plain[near[0]]!r}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"{where or 'the configuration'}: {shown(key)} is unknown; {hint}")


def _named(raw: Any, where: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping) or not raw:
        raise InputError(f"{where} must hold at least one of {', '.join(known)}")
    return raw


def _check_labels(head: str, names: Sequence[str]) -> None:
    """Raise InputError unless these sources have labels of a head, all of one level of theory."""
    levels = {}
    for name in names:
        labels = find(name).labels
        if head not in labels:
            raise InputError(f"heads.{head}.sources: {name} has no labels of {head}; it has {', '.join(labels)}")
        levels[labels[head].level] = name
    if len(levels) > 1:
        of = ", ".join(f"{level} ({name})" for level, name in levels.items())
        raise InputError(f"heads.{head}.sources: a head learns one level of theory, these have {of}")


def _section(raw: Any, where: str, keys: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise InputError(f"{where or 'the configuration'} must hold keys and values, got {shown(raw)}")
    for key in raw:
        _known(str(key), keys, where)
    if missing := [key for key in keys if key not in raw and key not in optional]:
        raise InputError(f"{where or 'the configuration'} lacks {', '.join(missing)}")
    return raw


def _whole(section: Mapping[str, Any], where: str, key: str, *, least: int = 1) -> int:
    value = section[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_WHOLE:
        raise InputError(f"{where}.{key} must be a whole number from {least} to {MOST_WHOLE}, got {shown(value)}")
    return value


def _number(
    section: Mapping[str, Any],
    where: str,
    key: str,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float = float("inf"),
) -> float:
    value = section[key]
    good = not isinstance(value, bool) and isinstance(value, int | float) and -LARGEST < value < min(below, LARGEST)
    if not good or (least is not None and value < least) or (above is not None and value <= above):
        bounds = {"at least": least, "above": above, "below": None if below == float("inf") else below}
        text = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        raise InputError(f"{where}.{key} must be a number {text}, got {shown(value)}")
    return float(value)


def _text(section: Mapping[str, Any], where: str, key: str, known: Sequence[str]) -> str:
    _known(str(section[key]), known, f"{where}.{key}")
    return str(section[key])


def _flag(section: Mapping[str, Any], where: str, key: str) -> bool:
    if not isinstance(section[key], bool):
        raise InputError(f"{where}.{key} must be true or false, got {shown(section[key])}")
    return bool(section[key])
