"""Models as the pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gapsmith.store import model_story, training_runs
from gapsmith.store.database import Connection
from gapsmith.store.model_story import Entry, WentLive
from gapsmith.store.training_runs import Run
from gapsmith.training.metrics import Point
from gapsmith.training.model_metrics import others, scores

MOST: Final = 200  # models of the list


@dataclass(frozen=True)
class Model:
    """A model, its ancestors, when it was live, and its training."""

    line: Sequence[Entry]  # itself, its parent, ... the shipped weights
    promotions: Sequence[WentLive]
    gate: Sequence[tuple[str, float | None, float | None]]  # score, of this model, of the live one then
    measured: Sequence[tuple[str, float]]
    run: Run | None
    points: Sequence[Point]

    @property
    def entry(self) -> Entry:
        """The model itself."""
        return self.line[0]


def listed(connection: Connection) -> dict[str, list[Entry]]:
    """Models by role, newest first."""
    entries = model_story.listed(connection)[:MOST]
    return {role: [one for one in entries if one.role == role] for role in model_story.roles(connection)}


def model(connection: Connection, name: str) -> Model:
    """Everything of one model; raises NotFound."""
    line = model_story.lineage(connection, model_story.resolve(connection, name))
    metrics = line[0].metrics
    ours, theirs = (scores(metrics, whose) for whose in ("candidate", "live"))
    run = training_runs.of(connection, line[0].id)
    return Model(
        line=line,
        promotions=model_story.promotions(connection, role=line[0].role, model_id=line[0].id),
        gate=[(score, ours.get(score), theirs.get(score)) for score in dict.fromkeys([*ours, *theirs])],
        measured=list(others(metrics).items()),
        run=run,
        points=training_runs.points(connection, run.id) if run else (),
    )
