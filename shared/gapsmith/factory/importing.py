"""From a file that a person has to a data set: read, checked, at GFN2-xTB geometries."""

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from gapsmith.core import properties
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.gate import Requirements, admit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.chemistry.reader import ReadOptions, read_molecules
from gapsmith.core.chemistry.records import Record
from gapsmith.core.chemistry.tables import read_table
from gapsmith.core.chemistry.text import Lines
from gapsmith.core.errors import CalculationError, Conflict, InputError, InvalidMolecule
from gapsmith.core.levels import configured
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.output import cells
from gapsmith.core.terminal import track
from gapsmith.core.units import UNITS
from gapsmith.core.xtb import relax
from gapsmith.data import imported, known
from gapsmith.data.excluded import is_excluded
from gapsmith.data.imported import DataSet
from gapsmith.data.label_sets import LEAST_MEDIAN_GAP_EV, MOST_MEDIAN_GAP_EV, SAME_EV
from gapsmith.data.molecules import Molecules
from gapsmith.training.files import sha256

LEAST: Final = 20  # molecules: of fewer, neither a tenth to measure by nor anything to learn remains
MOST: Final = 200_000  # records of a file
EXAMPLES: Final = 3  # of each kind of warning
PARQUET: Final = ".parquet"
CHUNK: Final = 8  # records that a process takes at once
HELD_OUT: Final = ("validation", "test")  # splits of QM9 that no model learns from


@dataclass(frozen=True)
class Wanted:
    """What is to be imported."""

    file: Path
    name: str
    quantity: str
    column: str
    level: str
    unit: str
    licence: str
    options: ReadOptions
    relax: bool = False  # geometries that the file has, too
    workers: int = 1

    def check(self) -> None:
        """Raise InputError naming the option, its value and what is allowed, before anything is read."""
        imported.check_name(self.name, "--name")
        imported.check_name(self.level, "--level")
        label = imported.label_of(self.quantity)
        if self.unit not in UNITS or UNITS[self.unit].dimension != label.dimension:
            fitting = [name for name, one in UNITS.items() if one.dimension == label.dimension]
            what = f"a unit of {UNITS[self.unit].dimension}" if self.unit in UNITS else "not a unit that is known"
            raise InputError(f"--unit: {self.unit!r} is {what}; {self.quantity} is measured in {' or '.join(fitting)}")

    @property
    def theory(self) -> str:
        """Method and basis of a level that is configured; the level's name of any other."""
        levels = configured()
        return levels[self.level].method_and_basis if self.level in list(levels) else self.level

    @property
    def about(self) -> dict[str, Any]:
        """What identifies an import: the same twice is the same set."""
        return {
            "property": self.quantity,
            "column": self.column,
            "level": self.level,
            "theory": self.theory,
            "unit": self.unit,
            "file_sha256": sha256(self.file),
        }


class Row(NamedTuple):
    """A record with its label."""

    record: Record
    value: float  # base unit


class Ready(NamedTuple):
    """A molecule that can be learned from."""

    record: Record
    value: float  # base unit
    inchikey: str
    smiles: str
    numbers: np.ndarray  # (atoms,) uint8
    coordinates: np.ndarray  # (atoms, 3) float32, angstrom


@dataclass
class Refusals:
    """What was left out, and why."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)  # kind, place, name, reason

    def add(self, kind: str, record: Record, reason: str) -> None:
        """Note one."""
        self.rows.append((kind, record.where, record.name, reason))

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(Counter(row[0] for row in self.rows))

    def examples(self, kind: str) -> list[str]:
        """The first of a kind."""
        return [f"{where}: {reason}" for one, where, _, reason in self.rows if one == kind][:EXAMPLES]

    def table(self) -> str:
        """As CSV."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("kind", "where", "name", "reason"))
        writer.writerows(cells(row) for row in self.rows)
        return stream.getvalue()


def already(wanted: Wanted) -> bool:
    """Whether this very import was done; raises Conflict if the name is taken by another set."""
    if wanted.name not in imported.names():
        return False
    card = imported.card(wanted.name)
    if all(card[key] == value for key, value in wanted.about.items()):
        return True
    raise Conflict(
        f"--name: there is a data set {wanted.name!r} of {card['title']} already; choose another name, or remove it with "
        f"gapsmith data delete {wanted.name}"
    )


def import_file(wanted: Wanted, domain: ModelDomain) -> tuple[DataSet, Refusals]:
    """Read, check and store a file.

    Args:
        wanted: checked.
        domain: of the live surrogate; what lies outside is left out.

    Raises:
        InputError: the column is not there, the unit cannot be right, or too few molecules are left.
    """
    refused = Refusals()
    rows = _rows(wanted, refused)
    _check_unit(wanted, [row.value for row in rows])
    ready, conflicts = _unique(_prepared(rows, wanted, domain, refused), refused)
    if len(ready) < LEAST:
        raise InputError(
            f"{wanted.file}: {len(ready)} molecules with a label are left, and at least {LEAST} are needed; "
            + ("; ".join(reasons(refused)) or "the file holds no more")
        )
    hidden = [split if (split := known.split_of(one.inchikey)) in HELD_OUT else None for one in ready]
    head = imported.head_of(wanted.quantity, wanted.level, wanted.theory)
    card = {
        **wanted.about,
        "name": wanted.name,
        "title": f"{wanted.quantity} of {wanted.file.name} at {wanted.level}",
        "head": head,
        "origin": wanted.file.name,
        "licence": wanted.licence,
        "records": len(rows) + sum(refused.counts.get(kind, 0) for kind in ("unreadable", "value")),
        "molecules": len(ready),
        "refused": refused.counts,
        "conflicts": conflicts,
        "held_out_of_qm9": {split: hidden.count(split) for split in HELD_OUT},
        "in_qm9": sum(known.in_qm9(one.inchikey) for one in ready),
    }
    keys = [one.inchikey for one in ready]
    offsets = np.concatenate([[0], np.cumsum([len(one.numbers) for one in ready])]).astype(np.int64)
    molecules = Molecules(
        offsets,
        np.concatenate([one.numbers for one in ready]),
        np.concatenate([one.coordinates for one in ready]),
        {head: np.array([one.value for one in ready])},
    )
    found = DataSet(card, molecules, keys, [one.smiles for one in ready], imported.splits_of(keys, hidden))
    imported.write(wanted.name, found, refused.table())
    return found, refused


def _rows(wanted: Wanted, refused: Refusals) -> list[Row]:
    """Records that have a label; raises InputError if none has the column."""
    rows, columns, there = [], dict[str, None](), False
    label, factor = imported.label_of(wanted.quantity), UNITS[wanted.unit].in_base
    for number, record in enumerate(_records(wanted), 1):
        if number > MOST:
            raise InputError(f"{wanted.file} holds more than {MOST} records; import it in parts under several names")
        columns |= dict.fromkeys(record.fields)
        there = there or wanted.column in record.fields
        if record.error is not None:
            refused.add("unreadable", record, record.error)
            continue
        text = record.fields.get(wanted.column, "").strip()
        try:
            value = float(text) * factor
        except ValueError:
            refused.add("value", record, f"its {wanted.column!r} is {text!r}, not a number" if text else "no label")
            continue
        if not math.isfinite(value) or value < label.least:
            allowed = "a finite number" if label.least == -math.inf else f"a number of at least {label.least:g}"
            refused.add("value", record, f"its {wanted.column!r} is {text!r}; {allowed} is expected")
            continue
        rows.append(Row(record, value))
    if not there:
        found = ", ".join(columns) or "none besides SMILES and names"
        raise InputError(f"--column: {wanted.file} has no column {wanted.column!r}; its columns: {found}")
    return rows


def _records(wanted: Wanted) -> Iterator[Record]:
    """Records of the file; Parquet as the table that it is."""
    if wanted.file.suffix.lower() != PARQUET:
        return read_molecules(wanted.file, wanted.options)
    options = wanted.options
    return read_table(Lines(_csv(wanted.file)), str(wanted.file), options.smiles_column, options.name_column)


def _csv(path: Path) -> Iterator[str]:
    """Lines of a Parquet file as CSV; raises InputError."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        flat = [one.name for one in file.schema_arrow if not pa.types.is_nested(one.type)]
        header = True
        for batch in file.iter_batches(columns=flat):
            stream = io.BytesIO()
            pa_csv.write_csv(batch, stream, pa_csv.WriteOptions(include_header=header))
            header = False
            yield from stream.getvalue().decode().splitlines()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _check_unit(wanted: Wanted, values: Sequence[float]) -> None:
    """Raise InputError if the values cannot be in the unit that was named."""
    if not values:
        return
    label, median = imported.label_of(wanted.quantity), float(np.median(values))
    low, high = properties.get(wanted.quantity).possible if wanted.quantity in properties.registered() else (-1e9, 1e9)
    if wanted.quantity == "gap":
        low, high = LEAST_MEDIAN_GAP_EV, MOST_MEDIAN_GAP_EV
    if low <= median <= high:
        return
    raw = median / UNITS[wanted.unit].in_base
    fitting = [
        name
        for name, one in UNITS.items()
        if one.dimension == label.dimension and name != wanted.unit and low <= raw * one.in_base <= high
    ]
    advice = f"; it would fit {' or '.join(fitting)}" if fitting else ""
    raise InputError(
        f"--unit: the median of {wanted.column!r} is {raw:.4g}, and so {median:.4g} {label.unit} if it is in {wanted.unit}; "
        f"a {wanted.quantity} lies between {low:g} and {high:g} {label.unit}{advice}"
    )


def _prepared(rows: Sequence[Row], wanted: Wanted, domain: ModelDomain, refused: Refusals) -> Iterator[Ready]:
    """Rows with geometries; in processes of their own if there are several."""
    needed = Requirements(domain=domain, charged=False, open_shell=False, drawings=wanted.relax)
    work = partial(_prepare, needed=needed, relaxing=wanted.relax)
    several = wanted.workers > 1 and len(rows) > CHUNK
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes
    pool = ProcessPoolExecutor(wanted.workers, mp_context=get_context("spawn")) if several else nullcontext()
    with pool as executor:
        done: Iterable[Ready | tuple[str, str]]
        done = map(work, rows) if executor is None else executor.map(work, rows, chunksize=CHUNK)
        for row, found in zip(rows, track(done, "geometries", len(rows)), strict=True):
            if isinstance(found, Ready):
                yield found
            else:
                refused.add(found[0], row.record, found[1])


def _prepare(row: Row, *, needed: Requirements, relaxing: bool) -> Ready | tuple[str, str]:
    """A row as it is learned from, or the kind of refusal and its reason."""
    try:
        admitted = admit(row.record, needed)
        molecule = admitted.molecule
        mol = admitted.mol or to_rdkit(perceive_bonds(molecule.numbers, molecule.coordinates))
        identity = identify(mol)
        if is_excluded(identity.inchikey):
            return "held out", "it is one of the molecules on which models are measured and never trained"
        coordinates = molecule.coordinates
        if admitted.rough or relaxing:
            coordinates = relax(molecule.numbers, coordinates).coordinates
    except InvalidMolecule as error:
        return ("domain" if error.reason == "domain" else "molecule"), error.detail
    except CalculationError as error:
        return "molecule", error.reason
    numbers = molecule.numbers.astype(np.uint8)
    return Ready(
        row.record, row.value, identity.inchikey, identity.smiles, numbers, np.asarray(coordinates, np.float32)
    )


def _unique(ready: Iterable[Ready], refused: Refusals) -> tuple[list[Ready], int]:
    """The first of each molecule, and how many of the others contradict it."""
    kept: dict[str, Ready] = {}
    conflicts = 0
    for one in ready:
        first = kept.setdefault(one.inchikey, one)
        if first is one:
            continue
        if abs(one.value - first.value) > SAME_EV:
            conflicts += 1
            reason = (
                f"the same molecule as {first.record.where} with another label: {one.value:.4f}, not {first.value:.4f}"
            )
            refused.add("conflict", one.record, reason)
        else:
            refused.add("duplicate", one.record, f"the same molecule as {first.record.where}")
    return list(kept.values()), conflicts


KINDS: Final[Mapping[str, str]] = {  # of refusals, for people
    "unreadable": "could not be read",
    "value": "have no usable label",
    "molecule": "are not closed-shell, neutral molecules in one piece with a geometry",
    "domain": "lie outside the live surrogate's domain",
    "held out": "are held out for measuring models",
    "duplicate": "are duplicates",
    "conflict": "are duplicates with another label; the first one counts",
}


def reasons(refused: Refusals) -> list[str]:
    """A line for each kind of refusal, with an example."""
    return [
        f"{refused.counts[kind]} {words}, for example {refused.examples(kind)[0]}"
        for kind, words in KINDS.items()
        if kind in refused.counts
    ]
