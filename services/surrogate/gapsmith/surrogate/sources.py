"""What a configuration's sources hold, in the base units that networks work in."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.errors import DataError, InputError, NotFound
from gapsmith.core.units import UNITS
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import find
from gapsmith.surrogate import electronic
from gapsmith.surrogate.batches import Share
from gapsmith.surrogate.config import Config

log = logging.getLogger(__name__)

LEAST = 1000  # molecules of QM9 whose electronic structure is computed where it is needed and not there: 11 s


def load(name: str, split: str, *, seen: bool = False) -> Molecules | None:
    """A source's molecules of a split; None if nothing of it is there.

    Args:
        name: of the source.
        split: of it.
        seen: with GFN2-xTB's electronic structure: what is cached of QM9, and all of other sources.
    """
    try:
        source = find(name)
    except NotFound:  # an imported data set that was deleted
        return None
    if not seen:
        molecules = source.load(split)
        molecules = replace(molecules, electronic=None) if molecules is not None else None
    elif name in electronic.GEOMETRIES:
        molecules = electronic.load(name, split)
    else:
        molecules = source.load(split)
        molecules = molecules.seen() if molecules is not None and molecules.electronic is None else molecules
    if molecules is None:
        return None
    return molecules.scaled({quantity: UNITS[label.unit].in_base for quantity, label in source.labels.items()})


def load_if_there(name: str, split: str, *, seen: bool) -> Molecules | None:
    """The same; None also where the source itself is not there, such as a folder of labels that others trained on."""
    try:
        return load(name, split, seen=seen)
    except (DataError, InputError) as error:
        log.info("source %s is left out: %s", name, error)
        return None


def main(config: Config, split: str) -> Molecules:
    """Molecules of a configuration's first source: those that models are judged by, and replayed in fine-tuning."""
    name, seen = next(iter(config.sources)), config.trunk.electronic
    if seen and name == "qm9":
        electronic.prepare(name, split, LEAST)
    return there(name, split, seen=seen)


def there(name: str, split: str, *, seen: bool = False) -> Molecules:
    """A source's molecules, see ``load``; raises DataError if there are none, with what to do about it."""
    molecules = load(name, split, seen=seen)
    if molecules is None:
        advice = electronic.ADVICE if seen and name in electronic.GEOMETRIES else find(name).advice
        raise DataError(
            f"source {name} has no molecules of the split {split}: {advice.format(split=split, geometries=name)}"
        )
    return molecules


def of(config: Config, split: str, most: int | None = None) -> dict[str, Share]:
    """All sources of a configuration, with labels of their own heads only and at most ``most`` molecules each.

    Raises:
        DataError: nothing of a source is there.
        InputError: a source has elements that the configuration does not list.
    """
    found = {}
    for name, source in config.sources.items():
        molecules = there(name, split, seen=config.trunk.electronic)
        if most is not None:
            molecules = molecules.take(np.arange(min(most, len(molecules))))
        elements = {SYMBOLS[number] for number in np.unique(molecules.numbers)}
        if strange := sorted(elements - set(config.elements)):
            raise InputError(f"source {name} has {', '.join(strange)}; elements lists {', '.join(config.elements)}")
        own = [head for head, settings in config.heads.items() if name in settings.sources]
        found[name] = Share(molecules.only(own), source.share, source.noise_angstrom)
    return found


def about(shares: dict[str, Share], split: str) -> list[dict[str, Any]]:
    """What a model's card says of its sources: origin, licence, levels and hash of what was learned from."""
    return [find(name).about(split, share.molecules) for name, share in shares.items()]
