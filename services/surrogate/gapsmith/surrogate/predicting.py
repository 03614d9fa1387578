"""``gapsmith predict`` at work: every head for every molecule, into a table."""

import csv
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, TextIO

import numpy as np
import torch

from gapsmith.cli.molecules import records
from gapsmith.core.chemistry.gate import Requirements, admit
from gapsmith.core.chemistry.reader import ReadOptions
from gapsmith.core.chemistry.records import Record
from gapsmith.core.errors import CalculationError, InvalidMolecule, UnavailableError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.output import cells, check_output
from gapsmith.core.settings import settings
from gapsmith.core.terminal import Echo, echo, print_rows, track
from gapsmith.core.xtb import relax as relaxed
from gapsmith.training.devices import usable_device
from gapsmith.training.files import replacing
from gapsmith.training.protocol import loaded
from gapsmith.training.roles import Prediction, Surrogate
from gapsmith.training.shipped import shipped

CHUNK: Final = 200  # molecules that are predicted together
STANDARD_OUTPUT: Final = Path("-")
UNPREDICTED: Final = "GFN2-xTB's SCF does not converge at this geometry, and the model needs its electronic structure"


def predict(
    molecules: Sequence[str],
    options: ReadOptions,
    output: Path | None,
    *,
    weights: Path | None,
    relax: bool,
    device: str,
    threads: int | None,
) -> int:
    """Predict, and write a table; returns how many molecules have an error.

    Args:
        molecules: files, SMILES, or - for standard input.
        options: how files are read.
        output: CSV; - for standard output. None: a table on a terminal, CSV in a pipe.
        weights: instead of those of the settings or the shipped ones.
        relax: whether given geometries are relaxed with GFN2-xTB, too.
        device: of torch.
        threads: of torch; None: all cores.
    """
    if output not in (None, STANDARD_OUTPUT):
        check_output(output, [".csv"])
    torch.set_num_threads(threads or os.cpu_count() or 1)
    chosen = weights or shipped("surrogate", settings())
    predictor: Surrogate = loaded(chosen, role="surrogate", device=usable_device(device))
    needed = requirements(predictor.domain, relax=relax)
    items = (item_of(record, needed, relax=relax) for record in records(molecules, options))
    shown = track(items, "molecules")
    total = failed = 0
    inputs: dict[str, None] = {}  # other columns of the input, in order
    with TemporaryFile("w+", encoding="utf-8") as rows:  # the columns are only known when all is read
        while chunk := list(islice(shown, CHUNK)):
            for row, item in zip(predicted_rows(predictor, chunk), chunk, strict=True):
                inputs |= dict.fromkeys(item.record.fields)
                rows.write(json.dumps([dict(item.record.fields), row]) + "\n")
                total, failed = total + 1, failed + (row["error"] is not None)
        rows.seek(0)
        if output is None and sys.stdout.isatty():
            print_rows([brief(predictor, json.loads(line)[1]) for line in rows], empty="no molecules")
        else:
            with _opened(output or STANDARD_OUTPUT) as target:
                _write(target, columns(predictor), list(inputs), rows)
    where = "" if output in (None, STANDARD_OUTPUT) else f", in {output}"
    echo(f"{total - failed} molecules predicted, {failed} with an error{where}", err=not where)
    return failed


def _write(target: TextIO, own: Sequence[str], inputs: Sequence[str], rows: TextIO) -> None:
    """Write the CSV: the name and the SMILES, the input's other columns, what is predicted."""
    names = {name: f"input_{name}" if name in own else name for name in inputs}
    header = [*own[:2], *names.values(), *own[2:]]
    writer = csv.DictWriter(target, header, lineterminator="\n")
    writer.writerow(dict(zip(header, cells(header), strict=True)))
    for line in rows:
        given, row = json.loads(line)
        found = {names[name]: value for name, value in given.items()} | row
        writer.writerow(dict(zip(found, cells(found.values()), strict=True)))


@contextmanager
def _opened(output: Path) -> Iterator[TextIO]:
    if output == STANDARD_OUTPUT:
        yield Echo()
        return
    try:
        with replacing(output) as partial, partial.open("w", newline="", encoding="utf-8") as target:
            yield target
    except OSError as error:
        raise UnavailableError(f"{output} cannot be written: {error.strerror or error}") from error


def brief(predictor: Surrogate, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a terminal: properties of whole molecules with their standard deviations."""
    found = {"name": row["name"], "smiles": row["smiles"]}
    for column in predictor.columns:
        mean, std = row.get(column), row.get(f"{column}_std")
        if mean is None or " " not in mean:
            found[column] = "" if mean is None else f"{float(mean):.3g} ± {float(std or 0):.2g}"
    unlike = "unlike the training data" if row.get("out_of_distribution") == "true" else ""
    return found | {"note": row["error"] or unlike}


def columns(predictor: Surrogate) -> list[str]:
    """Of the CSV, without the input's own."""
    heads = [f"{head}{part}" for head in predictor.columns for part in ("", "_std", "_low90", "_high90")]
    return ["name", "smiles", "atoms", *heads, "latent_distance", "out_of_distribution", "notes", "error"]


@dataclass(frozen=True)
class Item:
    """A row of the table: a molecule to predict, or why not."""

    record: Record
    geometry: tuple[np.ndarray, np.ndarray] | None = None  # atomic numbers (atoms,); coordinates (atoms, 3), angstrom
    error: str | None = None


def requirements(domain: ModelDomain, *, relax: bool) -> Requirements:
    """What a molecule must be for the model: a neutral closed shell within its domain."""
    return Requirements(domain=domain, charged=False, open_shell=False, drawings=relax)


def item_of(record: Record, needed: Requirements, *, relax: bool) -> Item:
    """A record at the geometry to predict at; RDKit's guesses, or all geometries, are relaxed with GFN2-xTB."""
    try:
        admitted = admit(record, needed)
        numbers, coordinates = admitted.molecule.numbers, admitted.molecule.coordinates
        if admitted.rough or relax:
            coordinates = relaxed(numbers, coordinates).coordinates
    except InvalidMolecule as error:
        return Item(record, error=error.detail)
    except CalculationError as error:
        return Item(record, error=error.reason)
    return Item(record, (numbers, coordinates))


def predicted_rows(predictor: Surrogate, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """A row for each item, in order; those with an error have no predictions."""
    predicted = predictor.predict([item.geometry for item in items if item.geometry is not None])
    place = 0
    for item in items:
        record = item.record
        row: dict[str, Any] = {"name": record.name, "smiles": record.smiles, "error": item.error}
        row["notes"] = "; ".join(record.notes)
        if item.geometry is not None:
            row["atoms"] = len(item.geometry[0])
            row |= values(predicted, place) if predicted.there[place] else {"error": UNPREDICTED}
            place += 1
        yield row


def values(predicted: Prediction, index: int) -> dict[str, Any]:
    """Cells of one molecule; a quantity of atoms is a list in one cell, in the order of the file's atoms."""
    atoms = slice(int(predicted.offsets[index]), int(predicted.offsets[index + 1]))
    cells: dict[str, Any] = {
        "latent_distance": f"{predicted.distance[index]:.4f}",
        "out_of_distribution": str(bool(predicted.out_of_distribution[index])).lower(),
    }
    for column, head in predicted.heads.items():
        parts = {
            column: head.mean,
            f"{column}_std": head.std,
            f"{column}_low90": head.low,
            f"{column}_high90": head.high,
        }
        for name, array in parts.items():
            if column in predicted.of_atoms:
                cells[name] = " ".join(f"{x:.5f}" for x in array[atoms])
            else:
                cells[name] = f"{array[index]:.6f}"
    return cells
