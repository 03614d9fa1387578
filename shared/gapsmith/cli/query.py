"""``gapsmith query``: question the candidates on the command line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gapsmith.core.domain import CandidateState
    from gapsmith.store.query import CandidateQuery, CandidateRow

SORT_KEYS = ("gap", "predicted", "uncertainty", "xtb_gap", "sa_score", "heavy_atoms", "created")
STATES = "proposed, rejected, scored, selected, labelled, certified, failed, withdrawn"


@click.command()
@click.option("--gap", metavar="LOW:HIGH", help="DFT gap in eV: certified if there is one, else the label.")
@click.option("--predicted", metavar="LOW:HIGH", help="Gap that the surrogate predicts, in eV.")
@click.option("--heavy-atoms", metavar="LOW:HIGH", help="Atoms other than hydrogen.")
@click.option(
    "--state",
    "states",
    metavar="STATE[,STATE]",
    help=f"{STATES}; or hit. 'labelled' is whatever has a DFT label, certified ones included; 'hit' is labelled inside "
    "its campaign's window. Without it all but the rejected.",
)
@click.option("--campaign", metavar="NAME", help="Of one campaign only.")
@click.option("--smarts", metavar="PATTERN", help="With this substructure.")
@click.option(
    "--sort", type=click.Choice(SORT_KEYS), default="created", show_default=True, help="Rows without a value come last."
)
@click.option("--descending", is_flag=True, help="Largest first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write .sdf (best geometry, properties as tags), .csv, .parquet or .json, by its ending.",
)
def query(
    gap: str | None,
    predicted: str | None,
    heavy_atoms: str | None,
    states: str | None,
    campaign: str | None,
    smarts: str | None,
    sort: str,
    descending: bool,
    limit: int | None,
    output: Path | None,
) -> None:
    """Question the candidate database; write SDF, CSV, Parquet or JSON.

    Ranges are closed and written 3.9:4.1, :4.1 or 3.9: . A terminal gets a table, a pipe tab-separated values.

    For example: gapsmith query --gap 3.9:4.1 --state labelled --sort gap -o hits.sdf
    """
    from gapsmith.store.query import CandidateQuery, Range, SortKey

    selected, hits = _states(states)
    question = CandidateQuery(
        campaign=campaign,
        states=selected,
        hits=hits,
        gap_ev=Range.parse(gap, "--gap") if gap is not None else None,
        predicted_gap_ev=Range.parse(predicted, "--predicted") if predicted is not None else None,
        heavy_atoms=Range.parse(heavy_atoms, "--heavy-atoms") if heavy_atoms is not None else None,
        smarts=smarts,
        sort=SortKey(sort),
        descending=descending,
        limit=limit,
    )
    if output is not None:
        from gapsmith.cli.export import check_output

        check_output(output)
    _answer(question, output)


def _answer(question: "CandidateQuery", output: Path | None) -> None:
    from gapsmith.core.settings import settings
    from gapsmith.stack.connect import connected_settings
    from gapsmith.store.database import Database
    from gapsmith.store.query import find, geometries

    own = settings()
    with Database.from_settings(own if own.postgres_url else connected_settings(), connections=1) as database:
        with database.transaction() as connection:
            rows = find(connection, question)
        if output is not None:
            from gapsmith.cli.export import write

            with database.transaction() as connection:
                write(output, rows, lambda: geometries(connection, {row.conformer_id for row in rows}))
            click.echo(f"{_count(rows)} written to {output}", err=True)
            return
    _show(rows)


def _show(rows: "list[CandidateRow]") -> None:
    if not sys.stdout.isatty():
        from gapsmith.cli.export import write_separated

        write_separated(sys.stdout, rows, "\t")
        return
    if not rows:
        click.echo("no candidate is like that")
        return
    from rich.console import Console

    from gapsmith.core.tables import table

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
            "campaign": row.campaign,
        }
        for row in rows
    ]
    Console().print(table(shown))
    click.echo(f"{_count(rows)}; level triage is DFT at the xTB geometry, certificate DFT at its own")


def _count(rows: "list[CandidateRow]") -> str:
    return f"{len(rows)} candidate{'' if len(rows) == 1 else 's'}"


def _with_error(mean: float | None, std: float | None) -> str:
    return "" if mean is None or std is None else f"{mean:.2f} ± {std:.2f}"


def _states(text: str | None) -> "tuple[tuple[CandidateState, ...], bool]":
    """States that an option selects, and whether only hits are wanted; raises InputError."""
    from gapsmith.core.domain import CandidateState
    from gapsmith.core.errors import InputError

    if text is None:
        return tuple(state for state in CandidateState if state is not CandidateState.REJECTED), False
    names = [name.strip().lower() for name in text.split(",")]
    hits = names == ["hit"] or names == ["hits"]
    selected: list[CandidateState] = []
    for name in ["labelled"] if hits else names:
        if name not in list(CandidateState):
            import difflib

            near = difflib.get_close_matches(name, [*CandidateState, "hit"], n=1)
            hint = f"did you mean {near[0]}?" if near else "one or more of these, or hit alone"
            raise InputError(f"--state: {name!r} is none of {STATES}; {hint}")
        selected.append(CandidateState(name))
        if name == CandidateState.LABELLED:
            selected.append(CandidateState.CERTIFIED)
    return tuple(dict.fromkeys(selected)), hits
