"""Events as sentences for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gapsmith.core.lifecycle import Outcome
from gapsmith.core.properties import get
from gapsmith.store import events
from gapsmith.store.database import Connection
from gapsmith.store.events import Told


@dataclass(frozen=True)
class Happening:
    """An event, told."""

    sequence: int
    at: datetime
    campaign: str | None  # name; None: it concerns all
    kind: str  # drawn, scored, asked, done, failed, trained, promoted or campaign
    text: str
    candidate_id: UUID | None = None  # to look at


def latest(connection: Connection, campaign: str, *, limit: int, among: int = 600) -> list[Happening]:
    """A campaign's latest events, newest first, as far as they are among the newest ``among`` of all."""
    return [_told(event) for event in events.latest(connection, campaign, limit=limit, among=among)]


def _told(event: Told) -> Happening:
    name = event.type.removeprefix("gapsmith.").rpartition(".v")[0]
    kind, text = _WORDS.get(name, _plain)(event, event.data)
    return Happening(event.sequence, event.at, event.campaign, kind, text, event.candidate_id)


def _plain(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    return "campaign", event.type


def _generate(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    parents = len(data.get("parents") or ())
    how = f"regrown from {_count(parents, 'parent')}" if parents else "new ones"
    return "asked", f"{data['count']} molecules asked for, {how}"


def _proposed(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    kept = len(data["candidate_ids"])
    return "drawn", f"{data['sampled']} molecules drawn, {kept} of them go on"


def _scored(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    again = " again" if data.get("rescored") else ""
    version = f" by surrogate:{event.model_version}" if event.model_version is not None else ""
    return "scored", f"{_count(len(data['candidate_ids']), 'candidate')} scored{again}{version}"


def _requested(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    return "asked", f"{event.level or 'calculation'} asked for: {event.smiles or 'a molecule'}"


def _finished(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    molecule, level = event.smiles or "a molecule", event.level or "calculation"
    if data["state"] != "done":
        reason = f": {event.failure_reason}" if event.failure_reason else ""
        return "failed", f"{level} of {molecule} {data['state']}{reason}"
    if event.value is None:
        return "done", f"{level} of {molecule} done"
    outcome = f", {event.outcome.replace('_', ' ')}" if event.outcome else ""
    hit = event.outcome is not None and Outcome(event.outcome).hit
    return "hit" if hit else "done", f"{molecule}: {event.value:.2f} {get(event.property).unit}{outcome} ({level})"


def _training(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    return "trained", f"training of the {data['role']} begins, with {_count(data['labels'], 'label')}"


def _trained(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    return "trained", f"training of the {data['role']} ended: {data['verdict']}"


def _promoted(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    version = "" if event.model_version is None else f":{event.model_version}"
    return "promoted", f"{data['role']}{version} is live"


def _changed(event: Told, data: Mapping[str, Any]) -> tuple[str, str]:
    if data.get("target"):
        return "campaign", f"the target is {data['target']} now; known labels count by it"
    return "campaign", f"campaign is {data['state']}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_WORDS = {
    "generate.requested": _generate,
    "candidates.proposed": _proposed,
    "candidates.scored": _scored,
    "calculation.requested": _requested,
    "calculation.finished": _finished,
    "training.requested": _training,
    "training.finished": _trained,
    "model.promoted": _promoted,
    "campaign.changed": _changed,
}
