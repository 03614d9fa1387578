"""``gapsmith data import``, ``list``, ``show`` and ``delete``: labels that people bring along."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gapsmith.cli import options
from gapsmith.core.terminal import bar, confirm, echo, print_json, print_rows

if TYPE_CHECKING:
    import numpy as np

    from gapsmith.data.imported import DataSet

BINS, WIDTH = 12, 40  # of the histogram
CHUNK: Final = 200  # molecules that are predicted together


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", required=True, metavar="NAME", help="Name of the data set.")
@click.option("--property", "property_", default="gap", show_default=True, metavar="PROPERTY", help="What is labelled.")
@click.option("--column", required=True, metavar="NAME", help="Column, tag or key that has the labels.")
@click.option(
    "--level",
    required=True,
    metavar="LEVEL",
    help="Level of theory: one of levels.yaml, such as triage, or a name of your own.",
)
@click.option(
    "--unit", required=True, metavar="UNIT", help="Unit of the labels: eV, meV, hartree, kcal/mol, D, bohr^3."
)
@click.option("--licence", default="not stated", metavar="TEXT", help="Licence of the data, for cards of models.")
@click.option("--relax", is_flag=True, help="GFN2-xTB relaxation of geometries that the file has, too.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of one thread.",
)
@options.reading
def import_(
    file: Path,
    name: str,
    property_: str,
    column: str,
    level: str,
    unit: str,
    licence: str,
    relax: bool,
    workers: int,
    smiles_column: str | None,
    name_column: str | None,
) -> None:
    """Import labels of your own, to train the surrogate on.

    FILE is a table (.csv, .tsv), an SDF with tags, an extended XYZ, QCSchema results (.json) or Parquet. Where it has no
    geometries, molecules are embedded and relaxed with GFN2-xTB, as gapsmith predict does. Units, duplicates and the domain
    of the live surrogate are checked. What is left out stands with its reason in refused.csv beside the data set. Molecules
    that QM9 holds out for measuring are held out here, too.

    The exit code is 0 if all records were imported, 1 if some were not.

    For example: gapsmith data import labels.csv --name ours --column "Eg (eV)" --level pbe0-ours --unit eV
    """
    from gapsmith.cli.molecules import read_options
    from gapsmith.data import imported
    from gapsmith.factory import importing
    from gapsmith.stack.connect import live_weights
    from gapsmith.training.card import card_alone, domain_of

    wanted = importing.Wanted(
        file,
        name,
        property_,
        column,
        level,
        unit,
        licence,
        read_options(smiles_column, name_column, None),
        relax,
        workers,
    )
    wanted.check()
    if importing.already(wanted):
        echo(f"{file} was imported as {name} before, with the same labels: nothing is changed")
        return
    weights = live_weights("surrogate")
    found, refused = importing.import_file(wanted, domain_of(card_alone(weights), weights))
    for line in importing.reasons(refused):
        echo(f"warning: {line}", err=True)
    if refused.rows:
        echo(
            f"{len(refused.rows)} records are left out; each stands in {imported.folder() / name / imported.REFUSED}",
            err=True,
        )
    echo("\n".join(_lines(found)))
    echo(f"\n{_measured(found, weights)}")
    echo(f"\nnext: gapsmith train surrogate --with {name}")
    if refused.rows:
        raise click.exceptions.Exit(1)


@click.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the imported data sets."""
    from gapsmith.data import imported

    cards = [imported.card(name) for name in imported.names()]
    if as_json:
        print_json(cards)
        return
    keys = ("name", "property", "level", "molecules", "origin", "licence")
    print_rows(
        [{key: card[key] for key in keys} for card in cards], empty="no data set was imported yet: gapsmith data import"
    )


@click.command()
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show an imported data set: its card and the distribution of its labels."""
    from gapsmith.data import imported

    if as_json:
        print_json(imported.card(name))
        return
    echo("\n".join(_lines(imported.load(name))))


@click.command()
@click.argument("name")
@options.yes
def delete(name: str, yes: bool) -> None:
    """Delete an imported data set; models that learned from it stay."""
    from gapsmith.data import imported

    card = imported.card(name)
    if not yes:
        confirm(f"delete {name}, {card['molecules']} labels of {card['origin']}?")
    imported.delete(name)
    echo(f"{name} is deleted")


def _lines(found: "DataSet") -> list[str]:
    """A set for people."""
    from gapsmith.data.imported import label_of
    from gapsmith.data.sources import SPLITS

    card, head = found.card, found.card["head"]
    counts = {split: int((found.splits == place).sum()) for place, split in enumerate(SPLITS)}
    hidden: Mapping[str, int] = card["held_out_of_qm9"]
    unit = label_of(card["property"]).unit
    return [
        f"{card['name']}: {card['molecules']} molecules of {card['records']} records of {card['origin']}, licence "
        f"{card['licence']}",
        f"{card['property']} at the level {card['level']} ({card['theory']}), read in {card['unit']}; head {head}",
        f"{counts['train']} to train on, {counts['validation']} to judge by, {counts['test']} held out",
        f"{card['in_qm9']} are in QM9; of these, {hidden['validation']} of its validation split and {hidden['test']} of its "
        "test split stay in those splits, so that nothing leaks",
        "",
        *histogram(found.molecules.graph[head], unit),
    ]


def histogram(values: "np.ndarray", unit: str) -> list[str]:
    """Counts of values in equal steps, one line each."""
    import numpy as np

    counts, edges = np.histogram(values, bins=BINS)
    most = max(1, int(counts.max()))
    return [
        f"{low:8.2f} to {high:8.2f} {unit}  {'#' * round(WIDTH * count / most):<{WIDTH}} {count:6d}"
        for low, high, count in zip(edges, edges[1:], counts.tolist(), strict=False)
    ]


def _measured(found: "DataSet", weights: Path) -> str:
    """The live surrogate's error on a set, in words."""
    import numpy as np

    from gapsmith.core.units import base_unit
    from gapsmith.data.imported import label_of
    from gapsmith.training.protocol import loaded

    card, molecules = found.card, found.molecules
    surrogate: Any = loaded(weights, role="surrogate")
    head = next((one for one in (card["head"], card["property"]) if one in surrogate.domain.properties), None)
    if head is None:
        return f"the live surrogate does not predict {card['property']} yet"
    geometries = [
        (molecules.numbers[first:last], molecules.coordinates[first:last])
        for first, last in zip(molecules.offsets, molecules.offsets[1:], strict=False)
    ]
    parts = []
    with bar("predictions", total=len(geometries)) as shown:
        for first in range(0, len(geometries), CHUNK):
            parts.append(surrogate.predict(geometries[first : first + CHUNK]).molecular[head].mean)
            shown.show(first + len(parts[-1]))
    predicted, labels = np.concatenate(parts), molecules.graph[card["head"]]
    there = np.isfinite(predicted)
    error = (predicted - labels)[there]
    unit = base_unit(label_of(card["property"]).dimension).suffix.replace("ev", "eV")
    line = np.polyfit(predicted[there], labels[there], 1)
    left = np.abs(np.polyval(line, predicted[there]) - labels[there]).mean()
    return (
        f"the live surrogate's {head} ({surrogate.domain.properties[head].level}) on them: mean absolute error "
        f"{np.abs(error).mean():.3f} {unit}, bias {error.mean():+.3f}; {left:.3f} after the best straight line"
    )
