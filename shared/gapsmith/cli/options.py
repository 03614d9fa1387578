"""Options that several commands have: one name, one meaning and one default each."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])
PATH: Final = click.Path(path_type=Path)
FOLDER: Final = click.Path(path_type=Path, file_okay=False)
EVALUATION: Final = Path("results/evaluation")

device: Final = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Device of the network: cpu, cuda or cuda:1; auto is a GPU if there is one.",
)
threads: Final = click.option(
    "--threads", type=click.IntRange(1, 1024), metavar="N", help="Number of CPU threads.  [all cores]"
)
weights: Final = click.option(
    "--weights", type=PATH, metavar="FILE", help="Model weights to use instead of the shipped ones."
)
seed: Final = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of all random numbers.",
)
as_json: Final = click.option("--json", "as_json", is_flag=True, help="JSON with all digits instead of a table.")
yes: Final = click.option("--yes", is_flag=True, help="No question before the change.")
campaign: Final = click.option("--campaign", metavar="NAME", help="Name of the only campaign to consider.")
evaluation_folder: Final = click.option(
    "-o",
    "--output",
    type=FOLDER,
    default=EVALUATION,
    show_default=True,
    metavar="DIR",
    help="Folder for the numbers (.json) and the picture (.png).",
)
results_folder: Final = click.option(
    "--results", type=FOLDER, metavar="DIR", help="Folder for report, pictures, SDF and CSV.  [results/NAME]"
)


def chosen(text: str | None, known: Iterable[str], option: str) -> list[str]:
    """Names out of ``queued,running``; raises InputError for one that is not known, with the nearest that is."""
    from gapsmith.core.errors import InputError
    from gapsmith.core.hints import hint

    names = [] if text is None else [name.strip().lower() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{option}: {unknown[0]!r} is not known{hint(unknown[0], known)}")
    return names


def reading(command: Command) -> Command:
    """Add the options that say where a file has its SMILES and names; ``core.chemistry.reader.ReadOptions`` takes them."""
    smiles = click.option(
        "--smiles-column",
        metavar="NAME",
        help="Column of a table that has the SMILES, by name or number.  [smiles and other usual names]",
    )
    names = click.option(
        "--name-column",
        metavar="NAME",
        help="Column of a table, or tag of an SDF, that has the names.  [name, id and other usual names]",
    )
    return smiles(names(command))
