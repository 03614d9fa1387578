"""p(number of heavy atoms | wanted properties), counted on the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gapsmith.generator.data import Molecules

BINS = 72
ENOUGH = 100  # molecules that a likelihood rests on; the window around the value widens until there are so many
TAIL_PERCENT = 0.1  # beyond which a wanted value counts as outside the training data


@dataclass(frozen=True)
class Table:
    """Counts by bins of one property."""

    low: float  # lower edge of the first bin
    step: float
    counts: np.ndarray  # (bins, most atoms + 1)
    range: tuple[float, float]  # the percentiles between which the training data lie, but for the tails

    def near(self, value: float) -> np.ndarray:
        """Smoothed counts around a value, or around the nearest that the data have, (most atoms + 1,)."""
        value = min(max(value, self.range[0]), self.range[1])
        centres = self.low + (np.arange(len(self.counts)) + 0.5) * self.step
        width = self.step
        while True:
            local = np.asarray((np.exp(-0.5 * ((centres - value) / width) ** 2)[:, None] * self.counts).sum(0))
            if local.sum() >= min(ENOUGH, self.counts.sum() / 2):
                return local
            width *= 1.5


class Sizes:
    """The distribution of sizes; several wanted properties are taken as independent given the size."""

    def __init__(self, totals: np.ndarray, tables: Mapping[str, Table]) -> None:
        self.totals, self.tables = totals, tables  # totals (most atoms + 1,)

    @classmethod
    def of(cls, molecules: Molecules, names: Sequence[str]) -> "Sizes":
        """Count a set of molecules, whose properties have these names."""
        places = molecules.atoms.shape[1] + 1
        tables = {}
        for column, name in enumerate(names):
            known = molecules.known[:, column]
            values, sizes = molecules.values[known, column].astype(np.float64), molecules.sizes[known]
            if len(values) == 0:
                continue
            low, high = float(values.min()), float(values.max())
            step = max(high - low, 1e-6) / BINS
            counts = np.zeros((BINS, places))
            np.add.at(counts, (np.clip(((values - low) / step).astype(int), 0, BINS - 1), sizes), 1)
            inside = np.percentile(values, [TAIL_PERCENT, 100 - TAIL_PERCENT])
            tables[name] = Table(low, step, counts, (float(inside[0]), float(inside[1])))
        return cls(np.bincount(molecules.sizes, minlength=places).astype(np.float64), tables)

    def weights(self, targets: Mapping[str, float] | None) -> np.ndarray:
        """p(size | targets), not normalised, (most atoms + 1,)."""
        weights = self.totals.copy()
        for name, value in (targets or {}).items():
            if name in self.tables:
                weights *= self.tables[name].near(value) / np.maximum(self.totals, 1)
        return weights if weights.sum() > 0 else self.totals.copy()

    def to_card(self) -> dict[str, Any]:
        """Plain values for a card; a row of counts is one string."""
        return {
            "totals": _line(self.totals),
            "tables": {
                name: {"low": t.low, "step": t.step, "range": list(t.range), "counts": [_line(row) for row in t.counts]}
                for name, t in self.tables.items()
            },
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> "Sizes":
        """The inverse."""
        tables = {
            name: Table(t["low"], t["step"], np.stack([_numbers(row) for row in t["counts"]]), tuple(t["range"]))
            for name, t in card["tables"].items()
        }
        return cls(_numbers(card["totals"]), tables)


def _line(counts: np.ndarray) -> str:
    return " ".join(str(int(count)) for count in counts)


def _numbers(line: str) -> np.ndarray:
    return np.array(line.split(), dtype=np.float64)
