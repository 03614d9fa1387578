"""``gapsmith predict``: every head for the molecules of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.cli.reading import reading_options
from gapsmith.core.terminal import echo, track

if TYPE_CHECKING:
    import numpy as np

    from gapsmith.core.chemistry.gate import Requirements
    from gapsmith.core.chemistry.records import Record
    from gapsmith.surrogate.predictor import Prediction, Predictor

CHUNK = 200  # molecules that are predicted together


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="CSV to write.")
@reading_options
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Other weights than the shipped ones.")
@click.option("--relax", is_flag=True, help="Relax geometries of .sdf and .xyz with GFN2-xTB too.")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or cuda:1.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads.  [all cores]")
def predict(
    file: Path,
    output: Path,
    smiles_column: str | None,
    name_column: str | None,
    weights: Path | None,
    relax: bool,
    device: str,
    threads: int | None,
) -> None:
    """Predict the properties of FILE's molecules: .smi, .csv, .sdf, .xyz or QCSchema .json, also with .gz.

    Every property comes with its mean, standard deviation and 90 % interval, units in the column names, and every molecule
    with a flag that says whether it is unlike all training data. SMILES are embedded and relaxed with GFN2-xTB first.
    Molecules that cannot be predicted have the reason in the column error; the others go on. The column notes says what was
    taken from a comment or left out, such as a charge or isotopes.

    For example: gapsmith predict molecules.smi -o out.csv
    """
    import csv
    import os

    import torch

    from gapsmith.core.chemistry.reader import ReadOptions, read_molecules
    from gapsmith.core.errors import InputError, UnavailableError
    from gapsmith.core.settings import settings
    from gapsmith.surrogate.predictor import SHIPPED, Predictor
    from gapsmith.training.files import replacing

    if output.suffix.lower() != ".csv":
        raise InputError(f"output: {output} must end in .csv")
    if not output.parent.is_dir():
        raise InputError(f"output: the folder {output.parent} does not exist; make it first: mkdir -p {output.parent}")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    predictor = Predictor.load(weights or settings().surrogate_weights or SHIPPED, device=device)
    total = failed = 0
    items: list[Item] = []
    needed = requirements(relax=relax)
    try:
        with replacing(output) as partial, partial.open("w", newline="") as target:
            writer = csv.DictWriter(target, fieldnames=columns(predictor))
            writer.writeheader()
            records = read_molecules(file, ReadOptions(smiles_column, name_column))
            for record in track(records, "molecules"):
                items.append(item_of(record, needed, relax=relax))
                if len(items) == CHUNK:
                    failed += write(writer, predictor, items)
                    total, items = total + len(items), []
            failed += write(writer, predictor, items)
            total += len(items)
    except OSError as error:
        raise UnavailableError(f"{output} cannot be written: {error}") from error
    echo(f"{total - failed} molecules predicted, {failed} with an error, in {output}")


def columns(predictor: "Predictor") -> list[str]:
    """Of the table."""
    found = ["name", "smiles", "atoms"]
    for name in predictor.model.names:
        if name != "gfn2_forces":
            column = predictor.config.column(name)
            found += [column, f"{column}_std", f"{column}_low90", f"{column}_high90"]
    return [*found, "latent_distance", "out_of_distribution", "notes", "error"]


@dataclass(frozen=True)
class Item:
    """A row of the table: a molecule to predict, or why not."""

    record: "Record"
    geometry: "tuple[np.ndarray, np.ndarray] | None" = None  # atomic numbers (atoms,); coordinates (atoms, 3), angstrom
    error: str | None = None


def requirements(*, relax: bool) -> "Requirements":
    """What a molecule must be for the models: neutral closed shells of the elements that they have seen."""
    from gapsmith.core.chemistry.gate import Requirements
    from gapsmith.surrogate.network import ELEMENTS

    return Requirements(
        elements=frozenset(ELEMENTS), known_by="the model", charged=False, open_shell=False, drawings=relax
    )


def item_of(record: "Record", needed: "Requirements", *, relax: bool) -> Item:
    """A record at the geometry to predict at; RDKit's guesses, or all geometries, are relaxed with GFN2-xTB."""
    from gapsmith.core.chemistry.gate import admit
    from gapsmith.core.errors import CalculationError, InvalidMolecule
    from gapsmith.core.xtb import relax as relaxed

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


def write(writer: Any, predictor: "Predictor", items: Sequence[Item]) -> int:
    """Predict and write rows in order; returns how many have an error."""
    good = [item.geometry for item in items if item.geometry is not None]
    predicted = predictor.predict(good)
    place = 0
    for item in items:
        record = item.record
        row: dict[str, Any] = {"name": record.name, "smiles": record.smiles, "error": item.error}
        row["notes"] = "; ".join(record.notes)
        if item.geometry is not None:
            row["atoms"] = len(item.geometry[0])
            row |= values(predicted, place)
            place += 1
        writer.writerow(row)
    return len(items) - len(good)


def values(predicted: "Prediction", index: int) -> dict[str, Any]:
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
