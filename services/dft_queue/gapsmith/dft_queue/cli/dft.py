"""``gapsmith dft``: molecules of any file through the DFT queue."""

import sys
from pathlib import Path
from typing import Any

import click

from gapsmith.cli import options
from gapsmith.core.terminal import echo, print_rows


class WithLists(click.Command):
    """A command of files, whose words ``levels`` and ``recipes`` are commands of their own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Of one or the other."""
        for word, command in (("levels", list_levels), ("recipes", list_recipes)):
            if args[:1] == [word]:
                return command.make_context(f"{info_name} {word}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        """Call the one whose context it is."""
        return super().invoke(context) if context.command is self else context.command.invoke(context)


LEVELS_FILE = click.option(
    "--levels",
    "levels_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML of your own levels of theory.",
)
RECIPES_FILE = click.option(
    "--recipes",
    "recipes_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML of your own recipes.",
)


@click.command(cls=WithLists)
@click.argument("molecules", metavar="MOLECULES...", nargs=-1, required=True)
@click.option("--level", default="triage", show_default=True, metavar="LEVEL", help="Level of theory, by name.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write .csv, .parquet, .sdf (final geometries) or .json (QCSchema), by its ending; - is CSV on standard output.",
)
@LEVELS_FILE
@click.option(
    "--recipe", metavar="RECIPE", help="Quantity that follows from several calculations, by name: ip, ea, oxidation ..."
)
@RECIPES_FILE
@options.reading
@click.option("--charge", type=click.IntRange(-10, 10), metavar="N", help="Total charge.  [the file's]")
@click.option("--spin", type=click.IntRange(0, 20), metavar="N", help="Unpaired electrons.  [the file's]")
@click.option(
    "--geometry-method",
    default="generated",
    show_default=True,
    metavar="METHOD",
    help="What the geometries are minima of, such as gfn2-xtb: the relaxation stages that they have behind them are skipped.",
)
@click.option("--allow-fragments", is_flag=True, help="Compute molecules in several pieces.")
@click.option(
    "--priority", type=click.IntRange(-1000, 1000), default=0, show_default=True, metavar="N", help="Higher first."
)
@click.option("--retry-failed", is_flag=True, help="Compute again what failed before.")
@click.option("--no-wait", is_flag=True, help="Queue only.")
@click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N", help="Workers to start here.  [GAPSMITH_DFT_WORKERS]"
)
def dft(
    molecules: tuple[str, ...],
    level: str,
    output: Path | None,
    levels_file: Path | None,
    recipe: str | None,
    recipes_file: Path | None,
    smiles_column: str | None,
    name_column: str | None,
    charge: int | None,
    spin: int | None,
    geometry_method: str,
    allow_fragments: bool,
    priority: int,
    retry_failed: bool,
    no_wait: bool,
    workers: int | None,
) -> None:
    """Compute molecules with DFT at a level of theory, through the queue.

    MOLECULES are files (.smi, .csv, .sdf, .xyz or QCSchema .json, also with .gz), SMILES, or - for standard input.

    What the database already has is reused. What cannot be computed is refused with the reason, and the rest goes on: every
    record gets a row, and so does a file that cannot be read. Ctrl-C leaves the jobs in the queue; the same command takes up
    where it was. Workers are started if none run.

    The exit code is 0 if all records were computed, 1 if some failed or were refused.

    The levels of theory and the recipes that there are: gapsmith dft levels, gapsmith dft recipes

    For example: gapsmith dft molecules.sdf --level certificate -o results.csv
    """
    from gapsmith.core import recipes
    from gapsmith.core.chemistry.reader import ReadOptions
    from gapsmith.dft_queue.commands.dft import carry_out, levels
    from gapsmith.dft_queue.commands.molecules import Wish

    known = levels(levels_file)
    wish = Wish(known[level], geometry_method, charge, spin, allow_fragments)
    bad = carry_out(
        molecules,
        ReadOptions(smiles_column, name_column),
        wish,
        output,
        recipe=None if recipe is None else recipes.find(recipe, recipes_file),
        known=known,
        priority=priority,
        retry_failed=retry_failed,
        wait=not no_wait,
        workers=workers,
    )
    if bad:
        raise click.exceptions.Exit(1)


@click.command()
@LEVELS_FILE
def list_levels(levels_file: Path | None) -> None:
    """The levels of theory: those that come with gapsmith and your own."""
    from gapsmith.core.levels import LevelOfTheory
    from gapsmith.dft_queue.commands.dft import levels

    known = levels(levels_file)
    print_rows(
        [
            {
                "level": one.name,
                "about": one.about,
                "engine": one.engine,
                "method": one.method,
                "basis": one.basis,
                "relaxation": ", ".join(one.relaxation),
                "properties": ", ".join(one.properties),
            }
            for one in known.values()
        ],
        empty="no levels of theory",
    )
    if sys.stdout.isatty():
        echo("Keys of a level in a file of your own (--levels FILE, or GAPSMITH_LEVELS):")
        for name, field in LevelOfTheory.model_fields.items():
            if name != "name":
                echo(f"  {name:22s} {field.description}")


@click.command()
@RECIPES_FILE
def list_recipes(recipes_file: Path | None) -> None:
    """The recipes: those that come with gapsmith and your own."""
    from gapsmith.core import recipes

    print_rows(
        [
            {
                "recipe": one.name,
                "about": one.about,
                "unit": one.unit,
                "calculations": ", ".join(one.calculations),
                "value": one.value,
                "electrode": "" if one.electrode is None else f"{one.electrode.potential_v} V: {one.electrode.source}",
            }
            for one in recipes.load(recipes_file).values()
        ],
        empty="no recipes",
    )
