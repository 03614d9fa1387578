"""Label sets as a source of training data: ``label_set:FOLDER``, or ``label_set:FOLDER@LEVEL`` for another than triage."""

from functools import cached_property
from pathlib import Path

import numpy as np

from gapsmith.core.errors import DataError
from gapsmith.data import label_sets
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import Label, Source, split_by_hash


class LabelSetSource(Source):
    """What ``gapsmith data make`` has labelled, at GFN2-xTB geometries; split by the molecules' connectivity."""

    name, title, rank = "label_set", "Label set", 3
    origin, licence = "gapsmith data make", "see the card of the set"

    def __init__(self, argument: str) -> None:
        from gapsmith.core.levels import LevelOfTheory  # needs pydantic, which other sources do without

        folder, _, name = argument.partition("@")
        self._folder, self._level = Path(folder), name or "triage"
        levels = label_sets.read_manifest(self._folder)["levels"].values()
        found = [LevelOfTheory.recalled(one) for one in levels if one["name"] == self._level]
        if not found:
            known = ", ".join(sorted({str(one["name"]) for one in levels})) or "none"
            raise DataError(f"{folder} has no labels of the level {self._level}; its levels: {known}")
        level = found[-1].method_and_basis
        self.labels = labels_at(level)

    @cached_property
    def _set(self) -> label_sets.LabelSet:
        return label_sets.load(self._folder)

    def version(self) -> str:
        """Name of the set, and of the level."""
        return f"{self._set.manifest['name']}, {self._level}"

    def keys(self, split: str) -> list[str]:
        """Connectivity blocks of the InChIKeys of what ``load`` gives."""
        return [self._connectivity[row] for row in self._rows(split)]

    def load(self, split: str) -> Molecules | None:
        """Molecules with a label; None if there are none."""
        found, labels, chosen = self._set, self._labels, self._rows(split)
        columns = found.columns
        molecules = Molecules(
            found.offsets,
            columns["numbers"],
            columns["coordinates"],
            {"homo": labels.homo_ev, "lumo": labels.lumo_ev, "gap": labels.gap_ev, "dipole": labels.dipole_debye},
            {"mulliken_charge": labels.mulliken_e.astype(np.float32)},
        )
        return molecules.take(np.array(chosen)) if chosen else None

    @cached_property
    def _connectivity(self) -> list[str]:
        return [key.decode().partition("-")[0] for key in self._set.inchikeys]

    @property
    def _labels(self) -> label_sets.DftLabels:
        labels = self._set.of_level(self._level)
        assert labels is not None  # the manifest has the level
        return labels

    def _rows(self, split: str) -> list[int]:
        there = self._labels.there
        return [int(row) for row in split_by_hash(self._connectivity, split) if there[row]]


def labels_at(level: str) -> dict[str, Label]:
    """What label sets know of each molecule; ``level`` is the method and basis."""
    return {
        "homo": Label("eV", level),
        "lumo": Label("eV", level),
        "gap": Label("eV", level, least=0.0),
        "dipole": Label("D", level, "dipole", least=0.0),
        "mulliken_charge": Label("e", level, "charge"),
    }
