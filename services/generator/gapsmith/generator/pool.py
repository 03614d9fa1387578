"""The pool ``generated``: what the shipped generator proposes at gaps where QM9 has few molecules."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.metadata import version
from typing import Final

import numpy as np

from gapsmith.factory.pools import Draft
from gapsmith.generator.generator import Generator

CHUNK: Final = 64  # attempts
LOW_EV: Final = (2.0, 4.5)
HIGH_EV: Final = (9.0, 11.0)
LOW_SHARE: Final = 0.75  # of the attempts


class GeneratedPool:
    """Each attempt has a wanted gap of its own, drawn evenly from the two ranges."""

    novel = True

    @cached_property
    def _generator(self) -> Generator:
        return Generator.load()

    def chunk(self, number: int, seed: int) -> Iterable[Draft]:
        """Sample one batch; the pool does not end."""
        random = np.random.default_rng([seed, number])
        low = random.random(CHUNK) < LOW_SHARE
        wanted = np.where(low, random.uniform(*LOW_EV, CHUNK), random.uniform(*HIGH_EV, CHUNK))
        sampled = self._generator.sample(CHUNK, [{"gap_ev": float(gap)} for gap in wanted], int(random.integers(2**62)))
        for molecule, origin in zip(sampled.molecules, sampled.origins, strict=True):
            yield Draft(molecule, float(wanted[origin]))

    def provenance(self) -> Mapping[str, str]:
        """The generator's weights and what computes with them."""
        return {
            "generator_sha256": str(self._generator.card["sha256"]),
            **{name: version(name) for name in ("gapsmith", "torch", "rdkit")},
        }
