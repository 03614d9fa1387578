"""``gapsmith predict``: every head for the molecules of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gapsmith.core.reading import Item
    from gapsmith.surrogate.predictor import Prediction, Predictor

CHUNK = 200  # molecules that are predicted together


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="CSV to write.")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Other weights than the shipped ones.")
@click.option("--relax", is_flag=True, help="Relax geometries of .sdf and .xyz with GFN2-xTB too.")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda or cuda:1.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads.  [all cores]")
def predict(file: Path, output: Path, weights: Path | None, relax: bool, device: str, threads: int | None) -> None:
    """Predict the properties of FILE's molecules: an .sdf, .smi, .xyz or .csv (with a column smiles).

    Every property comes with its mean, standard deviation and 90 % interval, units in the column names, and every molecule
    with a flag that says whether it is unlike all training data. SMILES are embedded and relaxed with GFN2-xTB first.
    Molecules that cannot be predicted have the reason in the column error; the others go on.

    For example: gapsmith predict molecules.smi -o out.csv
    """
    import csv
    import os

    import torch
    from rich.console import Console
    from rich.progress import track

    from gapsmith.core.errors import InputError, UnavailableError
    from gapsmith.core.reading import read
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
    try:
        with replacing(output) as partial, partial.open("w", newline="") as target:
            writer = csv.DictWriter(target, fieldnames=columns(predictor))
            writer.writeheader()
            for item in track(read(file), "molecules", console=Console(stderr=True)):
                item = neutral(item)
                items.append(relaxed(item) if item.rough or relax else item)
                if len(items) == CHUNK:
                    failed += write(writer, predictor, items)
                    total, items = total + len(items), []
            failed += write(writer, predictor, items)
            total += len(items)
    except OSError as error:
        raise UnavailableError(f"{output} cannot be written: {error}") from error
    click.echo(f"{total - failed} molecules predicted, {failed} with an error, in {output}")


def columns(predictor: "Predictor") -> list[str]:
    """Of the table."""
    found = ["name", "smiles", "atoms"]
    for name in predictor.model.names:
        if name != "gfn2_forces":
            column = predictor.config.column(name)
            found += [column, f"{column}_std", f"{column}_low90", f"{column}_high90"]
    return [*found, "latent_distance", "out_of_distribution", "error"]


def neutral(item: "Item") -> "Item":
    """The same, or with the reason why it cannot be predicted: the models have seen no ions."""
    from dataclasses import replace

    return (
        replace(item, geometry=None, error="it is charged; only neutral molecules are known") if item.charge else item
    )


def relaxed(item: "Item") -> "Item":
    """The same at its GFN2-xTB geometry, or with the reason why there is none."""
    from dataclasses import replace

    from gapsmith.core.errors import CalculationError
    from gapsmith.core.xtb import relax

    if item.geometry is None:
        return item
    try:
        found = relax(*item.geometry)
    except CalculationError as error:
        return replace(item, geometry=None, error=error.reason)
    return replace(item, geometry=(item.geometry[0], found.coordinates))


def write(writer: Any, predictor: "Predictor", items: "list[Item]") -> int:
    """Predict and write rows in order; returns how many have an error."""
    from dataclasses import replace

    from gapsmith.core.errors import InputError
    from gapsmith.surrogate.data import check_geometry

    checked = []
    for item in items:
        if item.geometry is not None:
            try:
                check_geometry(*item.geometry, "the molecule")
            except InputError as error:
                item = replace(item, geometry=None, error=str(error))
        checked.append(item)
    good = [item.geometry for item in checked if item.geometry is not None]
    predicted = predictor.predict(good)
    place = 0
    for item in checked:
        row: dict[str, Any] = {"name": item.name, "smiles": item.smiles, "error": item.error}
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
