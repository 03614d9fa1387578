"""A model of the registry in full."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from gapsmith.core.errors import CheckpointError
from gapsmith.store.model_story import Entry, WentLive
from gapsmith.store.models import check
from gapsmith.store.training_runs import Run
from gapsmith.trainer.commands.models_training import training_lines
from gapsmith.training.metrics import Point
from gapsmith.training.model_metrics import (
    card_of,
    difference,
    labels_held_out,
    measured,
    numbers,
    of_card,
    scores,
    text,
)

VERDICT_WIDTH = 56
SHORT = 8  # characters of an id that a terminal shows
SHOWN = 16  # digits of a digest of data
FACTS = ("batch_size", "learning_rate", "seed", "processes", "steps", "wall_s")  # of a card, about the training


@dataclass(frozen=True)
class Story:
    """A model, its ancestors, when it was live, and its file as it is now."""

    line: Sequence[Entry]  # the model, its parent, ... the shipped weights
    promotions: Sequence[WentLive]
    card: Mapping[str, Any]  # empty if there is none that can be read
    problem: str | None  # with the file
    run: Run | None  # that it came out of
    points: Sequence[Point]  # of that

    @property
    def model(self) -> Entry:
        """The model itself."""
        return self.line[0]

    @classmethod
    def of(
        cls,
        line: Sequence[Entry],
        promotions: Sequence[WentLive],
        run: Run | None = None,
        points: Sequence[Point] = (),
    ) -> Self:
        """Look at the file, too."""
        try:
            check(line[0])
            problem = None
        except CheckpointError as error:
            problem = str(error)
        return cls(line, promotions, card_of(Path(line[0].path)), problem, run, points)


def brief(one: Entry, terminal: bool) -> dict[str, Any]:
    """A model as a line of the list; on a terminal shortened."""
    verdict = one.verdict or ""
    return {
        "id": str(one.id)[:SHORT] if terminal else str(one.id),
        "role": one.role,
        "version": one.version,
        "state": f"● {one.state}" if terminal and one.state == "live" else one.state,
        "labels": one.labels,
        "parent": one.parent_version,
        "campaign": one.campaign,
        "created": f"{one.created_at.astimezone():%Y-%m-%d %H:%M}" if terminal else one.created_at.isoformat(),
        "verdict": verdict if not terminal or len(verdict) <= VERDICT_WIDTH else f"{verdict[: VERDICT_WIDTH - 1]}…",
    }


def lines(one: Story) -> list[str]:
    """Everything, for a terminal or a pipe."""
    model = one.model
    out = [f"model      {model.name}", f"id         {model.id}", f"state      {_state(model)}"]
    out += [f"created    {_when(model.created_at)}"]
    if model.campaign is not None:
        out += [f"campaign   {model.campaign}"]
    for number, ancestor in enumerate(one.line):
        out += [f"{'lineage' if number == 0 else '':10} {'  ' * number}{_ancestor(ancestor)}"]
    out += [f"data       {line}" if number == 0 else f"           {line}" for number, line in enumerate(_data(one))]
    out += [f"verdict    {model.verdict or 'none yet'}"]
    out += [f"file       {model.path}", f"           SHA-256 {model.sha256}"]
    out += [f"           {'matches it' if one.problem is None else f'PROBLEM: {one.problem}'}"]
    out += _section("measured at its training", _scores(model.metrics))
    out += _section("other metrics", _table(_others(one)))
    course = [] if one.run is None else training_lines(one.run, one.points)
    out += _section("training", [*course, *_table(_training(one))])
    warnings = model.metrics.get("warnings")
    out += _section("warnings", [str(warning) for warning in warnings] if isinstance(warnings, list) else [])
    out += _section("went live", [_promotion(promotion) for promotion in one.promotions])
    return out


def as_document(one: Story) -> dict[str, Any]:
    """For ``--json``."""
    return {
        **asdict(one.model),
        "lineage": [
            {"id": each.id, "version": each.version, "state": each.state, "labels": each.labels} for each in one.line
        ],
        "data": {name: one.card[name] for name in ("data", "sources", "labels") if name in one.card},
        "file": {
            "path": one.model.path,
            "sha256": one.model.sha256,
            "intact": one.problem is None,
            "problem": one.problem,
        },
        "promotions": [asdict(promotion) for promotion in one.promotions],
        "training_run": None if one.run is None else {**asdict(one.run), "points": [asdict(x) for x in one.points]},
    }


def _section(title: str, content: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in content)] if content else []


def _when(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def _state(model: Entry) -> str:
    return model.state if model.live_since is None else f"{model.state} since {_when(model.live_since)}"


def _ancestor(one: Entry) -> str:
    origin = "shipped" if one.parent_id is None else f"{one.labels} label{'' if one.labels == 1 else 's'}"
    return f"{one.name} ({origin}, {one.state})"


def _data(one: Story) -> Iterator[str]:
    labels = one.card.get("labels")
    held_out = labels_held_out(one.model.metrics)
    if one.model.parent_id is not None:
        yield f"{one.model.labels} labels for training" + (f", {held_out} newer ones held out" if held_out else "")
    if isinstance(labels, Mapping) and "sha256" in labels:
        yield f"set of labels {str(labels['sha256'])[:SHOWN]}, {len(labels.get('calculations', ()))} calculations"
    if one.card.get("data"):
        yield str(one.card["data"])
    for source in one.card.get("sources", ()):
        sha256 = str(source["sha256"] or "not recorded")[:SHOWN]
        yield (
            f"{source['title']}: {source['molecules']} molecules of the split {source['split']}, "
            f"licence {source['licence']}, SHA-256 {sha256}"
        )
    if not one.card and one.model.parent_id is None:
        yield "of the shipped weights; their card cannot be read here"


def _scores(metrics: Mapping[str, Any]) -> list[str]:
    """The candidate beside the model that was live then."""
    ours, theirs = scores(metrics, "candidate"), scores(metrics, "live")
    if not ours:
        return []
    width = max(map(len, ours))
    head = f"{'':{width}}  {'this one':>12}  {'live then':>12}  {'difference':>12}"
    return [
        head,
        *(
            f"{name:{width}}  {text(value):>12}  {text(theirs.get(name)):>12}  {difference(theirs.get(name), value):>12}"
            for name, value in sorted(ours.items())
        ),
    ]


def _others(one: Story) -> dict[str, float]:
    gate = scores(one.model.metrics, "candidate")
    own = {name: value for name, value in measured(one.model.metrics).items() if name not in gate}
    return own if own or gate else of_card(one.card)


def _training(one: Story) -> dict[str, float]:
    training = one.model.metrics.get("training")
    card = one.card.get("training")
    facts = {name: one.card[name] for name in FACTS if name in one.card}
    parts = [part for part in (facts, card, training) if isinstance(part, Mapping)]
    return {name: value for part in parts for name, value in numbers(part)}


def _table(values: Mapping[str, float]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"{name:{width}}  {text(value):>12}" for name, value in sorted(values.items())]


def _promotion(one: WentLive) -> str:
    how = {
        "shipped": "as shipped weights",
        "promoted": f"promoted by {one.source}",
        "rolled back": f"gone back to by {one.source}",
    }[one.how]
    return f"{_when(one.at)}  {how}" + (f": {one.reason}" if one.reason else "")
