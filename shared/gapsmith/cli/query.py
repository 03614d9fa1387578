"""``gapsmith query``: question the candidates on the command line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapsmith.core.terminal import echo, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gapsmith.store.database import Connection
    from gapsmith.store.query import CandidateQuery
    from gapsmith.store.query_rows import CandidateRow

SORT_KEYS = ("gap", "predicted", "uncertainty", "xtb_gap", "sa_score", "heavy_atoms", "created", "similarity")
STATES = "proposed, rejected, scored, selected, labelled, certified, failed, withdrawn"
RANGES = ("gap", "predicted", "uncertainty", "xtb_gap", "heavy_atoms", "sa_score")  # options, named as below


@click.command()
@click.option("--gap", metavar="LOW:HIGH", help="DFT gap in eV: certified if there is one, else the label.")
@click.option("--predicted", metavar="LOW:HIGH", help="Gap that the surrogate predicts, in eV.")
@click.option("--uncertainty", metavar="LOW:HIGH", help="Standard deviation of that prediction, in eV.")
@click.option("--xtb-gap", metavar="LOW:HIGH", help="GFN2-xTB gap in eV.")
@click.option("--heavy-atoms", metavar="LOW:HIGH", help="Atoms other than hydrogen.")
@click.option("--sa-score", metavar="LOW:HIGH", help="Synthetic accessibility: 1 easy to 10 hard.")
@click.option("--known/--novel", default=None, help="In QM9, the models' training data, or not.")
@click.option(
    "--state",
    "states",
    metavar="STATE[,STATE]",
    help=f"{STATES}; or hit, or all. 'labelled' is whatever has a DFT label, certified ones included; 'hit' is labelled "
    "inside its campaign's window. Without it all but the rejected.",
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
@click.option("--sort", type=click.Choice(SORT_KEYS), help="Rows without a value come last.  [created, or similarity]")
@click.option("--descending", is_flag=True, help="Largest first.")
@click.option("--fields", metavar="NAME[,NAME]", help="Columns, in this order.  [all]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write .sdf (best geometry, properties as tags), .csv, .parquet or .json, by its ending.",
)
def query(
    states: str | None,
    known: bool | None,
    sort: str | None,
    fields: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Question the candidate database; write SDF, CSV, Parquet or JSON.

    Ranges are closed and written 3.9:4.1, :4.1 or 3.9: . A terminal gets a table, a pipe tab-separated values.

    For example: gapsmith query --gap 3.9:4.1 --state labelled --sort gap -o hits.sdf
    """
    from gapsmith.store.query import CandidateQuery, Range, parse_fields, parse_sort, parse_states

    ranges = {
        name: None if (text := options.pop(name)) is None else Range.parse(text, f"--{name.replace('_', '-')}")
        for name in RANGES
    }
    selected, hits = parse_states(states, "--state")
    question = CandidateQuery.ask(
        states=selected,
        hits=hits,
        gap_ev=ranges["gap"],
        predicted_gap_ev=ranges["predicted"],
        predicted_gap_std_ev=ranges["uncertainty"],
        xtb_gap_ev=ranges["xtb_gap"],
        heavy_atoms=ranges["heavy_atoms"],
        sa_score=ranges["sa_score"],
        in_qm9=known,
        sort=parse_sort(sort, "--sort")[0],
        fields=parse_fields(fields),
        **options,
    )
    if output is not None:
        from gapsmith.cli.export import check_output

        check_output(output)
    _answer(question, output)


def _answer(question: "CandidateQuery", output: Path | None) -> None:
    from gapsmith.cli.database import connected

    with connected() as connection:
        if output is not None:
            from gapsmith.cli.export import write

            count = write(output, connection, question)
            echo(f"{_count(count)} written to {output}", err=True)
        elif sys.stdout.isatty():
            _show(connection, question)
        else:
            from gapsmith.store.query_files import Export

            for part in Export(connection, question, "tsv").parts():
                echo(part.decode(), nl=False)


def _show(connection: "Connection", question: "CandidateQuery") -> None:
    from gapsmith.store.query import find

    rows = find(connection, question)
    empty = "no candidate is like that"
    if question.fields:
        print_rows([{name: getattr(row, name) for name in question.fields} for row in rows], empty=empty)
        _foot(rows)
        return
    shown = [
        {
            "SMILES": row.smiles,
            "gap (eV)": row.gap_ev,
            "level": row.gap_level,
            "predicted (eV)": _with_error(row.predicted_gap_ev, row.predicted_gap_std_ev),
            "xTB gap (eV)": row.xtb_gap_ev,
            "SA score": round(row.sa_score, 1),
            "in QM9": "yes" if row.in_qm9 else "no",
            "state": row.state,
            "outcome": (row.outcome or "").replace("_", " "),
            "campaign": row.campaign,
            **({} if row.similarity is None else {"similarity": round(row.similarity, 2)}),
        }
        for row in rows
    ]
    print_rows(shown, empty=empty)
    _foot(rows)


def _foot(rows: "Sequence[CandidateRow]") -> None:
    """How many, and which levels of theory their gaps are of."""
    if rows:
        echo(_count(len(rows)))
    for title in sorted({row.level_of_theory for row in rows if row.level_of_theory is not None}):
        echo(f"gap: {title}")


def _count(rows: int) -> str:
    return f"{rows} candidate{'' if rows == 1 else 's'}"


def _with_error(mean: float | None, std: float | None) -> str:
    return "" if mean is None or std is None else f"{mean:.2f} ± {std:.2f}"
