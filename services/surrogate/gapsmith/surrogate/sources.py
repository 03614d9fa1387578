"""The sources of labels by name, each with the quantities that the configuration lets it train."""

import numpy as np

from gapsmith.core.errors import DataError
from gapsmith.surrogate import data, displaced, relaxed
from gapsmith.surrogate.batches import Share
from gapsmith.surrogate.config import Config
from gapsmith.surrogate.data import Molecules


def load(name: str, split: str) -> Molecules | None:
    """A source's molecules of a split of QM9; None if nothing of it is cached."""
    if name == "qm9":
        return data.base_split(split)
    return relaxed.load(split) if name == "qm9_gfn2" else displaced.load(split)


def of(config: Config, split: str, most: int | None = None) -> dict[str, Share]:
    """All sources of a configuration, with labels of their own heads only and at most ``most`` molecules each.

    Raises:
        DataError: nothing of a source is cached.
    """
    found = {}
    for name, source in config.sources.items():
        molecules = load(name, split)
        if molecules is None:
            raise DataError(
                f"source {name} has no molecules of the split {split}: "
                f"compute some with 'gapsmith data xtb --split {split} --molecules 1000', or leave it out"
            )
        if most is not None:
            molecules = molecules.take(np.arange(min(most, len(molecules))))
        own = [head for head, settings in config.heads.items() if name in settings.sources]
        found[name] = Share(molecules.only(own), source.share, source.noise_angstrom)
    return found
