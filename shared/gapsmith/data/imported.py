"""Data sets that people imported: labels of one property at one level of theory, as the source ``imported:NAME``.

A set is a folder with a card (``card.json``), its molecules (``molecules.npz``, without pickles) and, as a table, the records
that were refused. It is written once, whole, and never changed.

A head of its own is called ``PROPERTY@LEVEL``. Labels of the level that the shipped models' head of a quantity has belong to
that head.
"""

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np

from gapsmith.core import documents, properties
from gapsmith.core.errors import DataError, InputError, NotFound
from gapsmith.core.hints import hint
from gapsmith.core.paths import home
from gapsmith.core.units import UNITS, base_unit
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import SPLITS, Label, Source, registered, split_by_hash

FORMAT: Final = 1
CARD, ARRAYS, REFUSED = "card.json", "molecules.npz", "refused.csv"
AT: Final = "@"  # between a quantity and the level of a head of its own
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
SAID: Final = "lower-case letters, digits, - and _, at most 40 characters"


def folder() -> Path:
    """Where the sets are."""
    return home() / "datasets"


def check_name(text: str, option: str) -> str:
    """A name of a set or of a level; raises InputError."""
    if not NAME.fullmatch(text):
        raise InputError(f"{option}: {documents.shown(text)} is not a name; {SAID}")
    return text


def names() -> list[str]:
    """The sets that are there."""
    return sorted(path.parent.name for path in folder().glob(f"*/{CARD}") if NAME.fullmatch(path.parent.name))


def label_of(quantity: str, level: str = "") -> Label:
    """What a head of a quantity holds, in its base unit; raises InputError if no head can have it."""
    for source in registered().values():
        if (found := source.labels.get(quantity)) is not None:
            if found.kind != "graph":
                break
            name = next(name for name, unit in UNITS.items() if unit is base_unit(found.dimension))
            return Label(name, level or found.level, found.form, found.least)
    kind = properties.get(quantity)
    for name, unit in UNITS.items():
        if kind.column == f"{quantity}_{unit.suffix}":
            return Label(name, level, least=0.0 if kind.possible[0] == 0.0 else -np.inf)
    raise InputError(f"{quantity} has no unit that a head of the surrogate knows")


def head_of(quantity: str, level: str, theory: str) -> str:
    """The head that learns from labels of a level, which is called so and of that method and basis."""
    shipped = next((one.labels[quantity].level for one in registered().values() if quantity in one.labels), None)
    return quantity if theory == shipped else f"{quantity}{AT}{level}"


@dataclass(frozen=True)
class DataSet:
    """A set as it is stored."""

    card: Mapping[str, Any]
    molecules: Molecules  # labels by the name of their head, in its base unit
    inchikeys: Sequence[str]
    smiles: Sequence[str]
    splits: np.ndarray  # (molecules,) uint8, places in SPLITS


def splits_of(inchikeys: Sequence[str], forced: Sequence[str | None]) -> np.ndarray:
    """A split for each molecule: the one that is given, else by its own hash; (molecules,) uint8."""
    found = np.zeros(len(inchikeys), np.uint8)
    keys = [key.partition("-")[0] for key in inchikeys]
    for place, split in enumerate(SPLITS):
        found[split_by_hash(keys, split)] = place
    for at, wanted in enumerate(forced):
        if wanted is not None:
            found[at] = SPLITS.index(wanted)
    return found


def card(name: str) -> dict[str, Any]:
    """The card of a set; raises NotFound that names those that are there, DataError if it is damaged."""
    path = folder() / name / CARD
    if not NAME.fullmatch(name) or not path.is_file():
        raise NotFound(f"there is no imported data set {documents.shown(name)}{hint(name, names())}")
    try:
        found = documents.read(path)
    except InputError as error:
        raise DataError(f"{path} cannot be read ({error}): delete the folder and import the data again") from error
    if found.get("format") != FORMAT:
        raise DataError(f"{path} is not the card of a data set of format {FORMAT}")
    return found


def check(wanted: Sequence[str]) -> None:
    """Raise InputError if a campaign names a set that is not there."""
    for name in wanted:
        try:
            card(name)
        except NotFound as error:
            raise InputError(f"data: {error}; import it with gapsmith data import") from error


def load(name: str) -> DataSet:
    """A set; raises NotFound, or DataError if it was altered."""
    about, path = card(name), folder() / name / ARRAYS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; import the data again") from error
    if hashlib.sha256(content).hexdigest() != about["molecules_sha256"]:
        raise DataError(f"{path} was altered: delete the folder and import the data again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        molecules = Molecules(
            arrays["offsets"], arrays["numbers"], arrays["coordinates"], {about["head"]: arrays["values"]}
        )
        keys = [key.decode() for key in arrays["inchikeys"].tolist()]
        smiles = arrays["smiles"].tobytes().decode().split("\n")
        return DataSet(about, molecules, keys, smiles, arrays["splits"])


def write(name: str, found: DataSet, refused: str) -> None:
    """Write a set, whole or not at all; ``refused`` is a table. Raises InputError if there is one of the name."""
    head = found.card["head"]
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        offsets=found.molecules.offsets,
        numbers=found.molecules.numbers,
        coordinates=found.molecules.coordinates,
        values=found.molecules.graph[head],
        inchikeys=np.array(found.inchikeys, dtype="S27"),
        smiles=np.frombuffer("\n".join(found.smiles).encode(), np.uint8),
        splits=found.splits,
    )
    content = stream.getvalue()
    about = {**found.card, "format": FORMAT, "molecules_sha256": hashlib.sha256(content).hexdigest()}
    partial = folder() / f".{name}.{uuid4().hex}.partial"
    try:
        partial.mkdir(parents=True, mode=0o700)
        for file, data in (
            (ARRAYS, content),
            (REFUSED, refused.encode()),
            (CARD, json.dumps(about, indent=2, ensure_ascii=False).encode()),
        ):
            with (partial / file).open("wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())
        os.rename(partial, folder() / name)  # refuses a folder that holds anything
    except OSError as error:
        raise InputError(f"{folder() / name} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def delete(name: str) -> None:
    """Remove a set; raises NotFound."""
    card(name)
    doomed = folder() / f".{name}.{uuid4().hex}.partial"
    os.rename(folder() / name, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


class ImportedSource(Source):
    """What ``gapsmith data import`` stored. Molecules that QM9 holds out are held out here, too."""

    name, title, rank = "imported", "Imported data", 4
    origin, licence = "gapsmith data import", "see the card of the set"

    def __init__(self, argument: str) -> None:
        self._name, self._card = argument, card(argument)
        label = label_of(self._card["property"], self._card["theory"])
        self.labels = {self._card["head"]: label}

    def load(self, split: str) -> Molecules | None:
        """Molecules of a split; None if there are none."""
        split_by_hash((), split)  # whether there is such a split
        found = load(self._name)
        chosen = np.flatnonzero(found.splits == SPLITS.index(split))
        return found.molecules.take(chosen) if len(chosen) else None

    def about(self, split: str, molecules: Molecules) -> dict[str, Any]:
        """With the set's name, and origin, licence and SHA-256 of the file that it came from."""
        own = {key: self._card[key] for key in ("title", "origin", "licence", "file_sha256")}
        return {**super().about(split, molecules), **own, "name": f"{self.name}:{self._name}"}
