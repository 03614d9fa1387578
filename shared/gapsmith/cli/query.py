"""``gapsmith query``: question the candidates on the command line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.core import columns
from gapsmith.core.lifecycle import CandidateState
from gapsmith.core.terminal import echo, print_rows

if TYPE_CHECKING:
    from gapsmith.store.database import Connection
    from gapsmith.store.query import CandidateQuery


def _ranges(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every column that has a range."""
    for column in reversed(columns.RANGES):
        about = f"{column.title}{f' in {column.unit}' if column.unit else ''}: {column.description}."
        command = click.option(column.option, column.name, metavar="LOW:HIGH", help=about)(command)
    return command


@click.command()
@_ranges
@click.option("--known/--novel", "in_qm9", default=None, help="In QM9, the models' training data, or not.")
@click.option(
    "--state",
    "states",
    metavar="STATE[,STATE]",
    help=f"{', '.join(CandidateState)}; or hit, or all. 'labelled' is whatever has a DFT label, certified ones "
    "included; 'hit' is labelled inside its campaign's window. Without it all but the rejected.",
)
@click.option("--campaign", metavar="NAME", help="Of one campaign only.")
@click.option("--smarts", metavar="PATTERN", help="With this substructure.")
@click.option("--similar-to", metavar="SMILES", help="Similar to this molecule; the most similar first.")
@click.option(
    "--min-similarity",
    type=click.FloatRange(0, 1),
    default=0.4,
    show_default=True,
    help="Least Tanimoto similarity to it (Morgan fingerprints, radius 2).",
)
@click.option(
    "--sort", type=click.Choice([*columns.SORTABLE]), help="Rows without a value come last.  [created, or similarity]"
)
@click.option("--descending", is_flag=True, help="Largest first.")
@click.option("--fields", metavar="NAME[,NAME]", help="Columns, in this order.  [all]")
@click.option("--limit", type=click.IntRange(1, 10**9), metavar="N", help="At most so many rows.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write .sdf (best geometry, properties as tags), .csv, .parquet or .json, by its ending.",
)
def query(
    states: str | None,
    fields: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Question the candidate database; write SDF, CSV, Parquet or JSON.

    Ranges are closed and written 3.9:4.1, :4.1 or 3.9: . A terminal gets a table, a pipe tab-separated values.

    For example: gapsmith query --gap 3.9:4.1 --state labelled --sort gap -o hits.sdf
    """
    from gapsmith.store.query import CandidateQuery, Range, parse_fields, parse_states

    written = {column: options.pop(column.name) for column in columns.RANGES}
    selected, hits = parse_states(states, "--state")
    question = CandidateQuery.ask(
        states=selected,
        hits=hits,
        ranges={one.name: Range.parse(text, one.option) for one, text in written.items() if text is not None},
        fields=parse_fields(fields),
        **options,
    )
    if output is not None:
        from gapsmith.cli.export import check_output

        check_output(output)
    _answer(question, output)


def _answer(question: "CandidateQuery", output: Path | None) -> None:
    from gapsmith.stack.connect import connected

    with connected() as connection:
        if output is not None:
            from gapsmith.cli.export import write

            count = write(output, connection, question)
            echo(f"{_count(count)} written to {output}", err=True)
        elif sys.stdout.isatty():
            _show(connection, question)
        else:
            from gapsmith.store.database import held
            from gapsmith.store.query_files import Export

            for part in Export(held(connection), question, "tsv").parts():
                echo(part.decode(), nl=False)


def _show(connection: "Connection", question: "CandidateQuery") -> None:
    from gapsmith.store.database import held
    from gapsmith.store.query import find

    rows = find(held(connection), question)
    extra = () if question.similar_to is None else (columns.SIMILARITY,)
    shown = [columns.BY_NAME[name] for name in question.fields or ("smiles", *extra, *columns.SHOWN)]
    texts = [{one.heading: columns.text(row, one) for one in shown} for row in rows]
    print_rows(texts, empty="no candidate is like that", right=[one.heading for one in shown if one.numeric])
    if rows:
        echo(_count(len(rows)))
    for title in sorted({row["level_of_theory"] for row in rows if row.get("level_of_theory") is not None}):
        echo(f"DFT: {title}")


def _count(rows: int) -> str:
    return f"{rows} candidate{'' if rows == 1 else 's'}"
