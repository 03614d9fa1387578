"""A campaign's results as files: a short report, a picture, its hits and its candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapsmith.cli.export import write
from gapsmith.coordinator.commands.report_picture import draw
from gapsmith.core.errors import UnavailableError
from gapsmith.core.lifecycle import CandidateState, Outcome
from gapsmith.core.properties import suffix
from gapsmith.core.units import duration
from gapsmith.store import progress
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database
from gapsmith.store.progress import Attempt
from gapsmith.store.query import CandidateQuery
from gapsmith.store.results import Results, collect, failures, mean_absolute_error, wilson


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    report: Path  # Markdown
    picture: Path
    csv: Path  # hits
    sdf: Path  # hits, with their best geometries
    candidates: Path  # CSV of all candidates but the rejected


def write_report(database: Database, campaign: Campaign, folder: Path) -> ReportFiles:
    """Write all files of a campaign's results.

    Args:
        database: where it lives.
        campaign: ended or not.
        folder: made if need be; files of an earlier report are replaced.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    files = ReportFiles(
        report=folder / "report.md",
        picture=folder / "report.png",
        csv=folder / "hits.csv",
        sdf=folder / "hits.sdf",
        candidates=folder / "candidates.csv",
    )
    results = collect(database, campaign)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with database.transaction() as connection:
            hits = _query(campaign.name, hits=True)
            write(files.csv, connection, hits)
            write(files.sdf, connection, hits)
            write(files.candidates, connection, _query(campaign.name, hits=False))
        draw(results, files.picture)
        files.report.write_text("\n".join(lines(results)) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"the report cannot be written to {folder}: {error.strerror or error}") from error
    return files


def _query(name: str, *, hits: bool) -> CandidateQuery:
    """Hits, as 'gapsmith query --state hit' finds them; or all candidates but the rejected."""
    return CandidateQuery(
        campaign=name,
        states=tuple(state for state in CandidateState if state is not CandidateState.REJECTED),
        hits=hits,
        sort="gap" if hits else "created",
    )


def hits_table(database: Database, campaign: Campaign) -> list[dict[str, Any]]:
    """The hits, certified ones first, then by the target's objectives and by distance from the middle of its windows."""
    with database.transaction() as connection:
        found = progress.attempts(connection, campaign.id)
    return _rows(found, campaign, Outcome.HIT_BY_CERTIFICATE, Outcome.HIT_BY_LABEL)


def _rows(found: Sequence[Attempt], campaign: Campaign, *outcomes: Outcome) -> list[dict[str, Any]]:
    main, *others = campaign.config.target.properties
    unit = suffix(main.unit)

    def rank(one: Attempt) -> tuple[int, float, float]:
        assert one.outcome is not None  # of these outcomes
        assert one.violation is not None  # it has an outcome
        return outcomes.index(one.outcome), -campaign.config.target.merit(one.counting), one.violation

    return [
        {
            "smiles": one.smiles,
            f"label{unit}": one.label_value,
            f"certified{unit}": one.certified_value,
            f"predicted{unit}": _with_error(one.predicted, one.predicted_std),
            **{other.column: one.counting.get(other.name) for other in others},
            "in_qm9": "yes" if one.in_qm9 else "no",
            "sa_score": round(one.sa_score, 1),
            "outcome": str(one.outcome).replace("_", " "),
        }
        for one in sorted((one for one in found if one.outcome in outcomes), key=rank)
    ]


OUTSIDE = {  # by what differs between a label and its certificate
    "geometry": "inside by its label and outside at its DFT geometry",
    "level": "inside by its label and outside at the other level",
}


def _with_error(mean: float | None, std: float | None) -> str:
    return "" if mean is None or std is None else f"{mean:.2f} ± {std:.2f}"


def lines(results: Results) -> list[str]:
    """The report as lines of Markdown."""
    config, p = results.campaign.config, results.progress
    windows = "the window" if len(config.target.windows) == 1 else "all windows"
    hits = _rows(results.attempts, results.campaign, Outcome.HIT_BY_CERTIFICATE, Outcome.HIT_BY_LABEL)
    missed = _rows(results.attempts, results.campaign, Outcome.MISSED)
    return [
        f"# {results.campaign.name}",
        "",
        f"Wanted: {config.target}. A *hit by label* is inside {windows} by its label, and has no certificate (yet); a "
        "*hit by certificate* is inside by its certificate. What is inside by its label and outside by its certificate is "
        "*missed*.",
        "",
        *(
            f"Until {one.until:%Y-%m-%d %H:%M} UTC, with {one.labels} labels, the target was: {one.target}.\n"
            for one in results.campaign.earlier_targets
        ),
        *(f"- {line}" for line in results.campaign.level_lines()),
        "",
        f"The campaign is {p.state}" + (f": {p.stop_reason}." if p.stop_reason else "."),
        "",
        "![Hits, predictions and gaps](report.png)",
        "",
        "## Hits",
        "",
        *_table(hits, "No hits."),
        "",
        *([f"Missed, {OUTSIDE[results.campaign.change]}:", "", *_table(missed, ""), ""] if missed else []),
        *_front_lines(results),
        *_rate_lines(results),
        "",
        "## What was done",
        "",
        f"- {p.sampled} molecules drawn, {p.rejected} refused"
        + (f" ({_counted(p.rejected_by_reason)})" if p.rejected_by_reason else ""),
        f"- {p.dft_done} of {p.dft_budget} DFT jobs done, {p.dft_failed} of them failed"
        + (f"; certificates: {p.certificates_done} done" if p.certifies else ""),
        *(f"  - {reason}: {count}" for reason, count in failures(results.attempts)),
        f"- {_time(p.elapsed_s)} of running time; DFT took {results.cost.cpu_s:.0f} CPU-seconds in "
        f"{results.cost.calculations} calculations ({results.cost.wall_s:.0f} s of wall time, summed over workers)"
        + (f", and {results.cost.reused} results of earlier campaigns were reused" if results.cost.reused else ""),
        "",
        "## Surrogate",
        "",
        *_error_lines(results.attempts, config.target.main.unit),
        *_table(
            [
                {
                    "model": f"{m.role}:{m.version}",
                    "labels": m.labels,
                    "state": m.state,
                    "gate": m.verdict or "not judged",
                }
                for m in results.models
            ],
            "No model was trained in this campaign.",
        ),
    ]


def _front_lines(results: Results) -> list[str]:
    """The hits on the Pareto front, if there is something to trade."""
    target = results.campaign.config.target
    if len(target.objectives) < 2:
        return []
    hits = [one for one in results.attempts if one.outcome is not None and one.outcome.hit]
    front = sorted((hits[place] for place in target.front([one.counting for one in hits])), key=lambda one: one.smiles)
    rows = [
        {"smiles": one.smiles, **{kind.column: one.counting.get(kind.name) for kind in target.properties}}
        for one in sorted(front, key=lambda one: -target.merit(one.counting))
    ]
    both = " and ".join(str(one) for one in target.objectives)
    words = f"Pareto front of {both}: no other hit is better in one and as good in the other."
    return [words, "", *_table(rows, "No hits yet."), ""]


def _rate_lines(results: Results) -> list[str]:
    """Hit rate per attempted DFT job, with its interval and what blind drawing would give."""
    p = results.progress
    if not p.dft_done:
        return ["No DFT job has ended."]
    low, high = wilson(p.hits, p.dft_done)
    rate, base = p.hits / p.dft_done, results.base_rate
    holding = "lie in this window" if len(results.campaign.config.target.windows) == 1 else "hold all windows"
    text = (
        f"Hits: {p.hits_by_kind} in {p.dft_done} DFT jobs, failures included: {rate:.0%} "
        f"(95 % interval {low:.0%} to {high:.0%}). "
        f"Of QM9's molecules of the allowed elements and sizes, {base:.3%} {holding}"
    )
    text += f": {rate / base:.0f} times the rate of drawing blindly." if base and p.hits else "."
    if p.certifies:
        text += f" Certificates still open: {p.certificates_open}."
    return [text]


def _error_lines(found: Sequence[Attempt], unit: str) -> list[str]:
    error = mean_absolute_error(found)
    if error is None:
        return []
    mean, labels = error
    return [
        f"Mean absolute error of its predictions on the {labels} labelled molecules: {mean:.3f} {unit}.",
        "",
    ]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())


def _time(seconds: float) -> str:
    return duration(seconds)


def _table(rows: Sequence[dict[str, Any]], empty: str) -> list[str]:
    if not rows:
        return [empty]

    def text(value: Any) -> str:
        shown = f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
        return shown.replace("|", "\\|").replace("\n", " ")

    return [
        "| " + " | ".join(rows[0]) + " |",
        "|" + "---|" * len(rows[0]),
        *("| " + " | ".join(text(value) for value in row.values()) + " |" for row in rows),
    ]
