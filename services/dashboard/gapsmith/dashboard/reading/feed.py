"""Events as sentences for people."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gapsmith.core.domain import Window
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Happening:
    """An event, told."""

    sequence: int
    at: datetime
    campaign: str | None  # name; None: it concerns all
    kind: str  # drawn, scored, asked, done, failed, trained, promoted or campaign
    text: str
    candidate_id: UUID | None = None  # to look at


_SELECT = """
    SELECT o.sequence, o.created_at AS at, o.type, o.envelope -> 'data' AS data, coalesce(g.name, kg.name) AS campaign,
           k.level, k.gap_ev, k.state AS calculation_state, k.failure_reason, k.failure_class, c.candidate_id,
           coalesce(c.smiles, km.smiles) AS smiles, mo.version AS model_version, mo.verdict,
           coalesce(g.config, kg.config) #> '{target}' AS target
    FROM outbox o
    LEFT JOIN campaigns g ON g.id = (o.envelope #>> '{data,campaign_id}')::uuid
    LEFT JOIN calculations k ON k.id = (o.envelope #>> '{data,calculation_id}')::uuid
    LEFT JOIN campaigns kg ON kg.id = k.campaign_id
    LEFT JOIN conformers kf ON kf.id = k.conformer_id
    LEFT JOIN molecules km ON km.id = kf.molecule_id
    LEFT JOIN LATERAL (
        SELECT c.id AS candidate_id, m.smiles FROM candidates c JOIN molecules m ON m.id = c.molecule_id
        WHERE c.triage_id = k.id OR c.certificate_id = k.id ORDER BY c.campaign_id = k.campaign_id DESC LIMIT 1
    ) c ON true
    LEFT JOIN models mo ON mo.id = (o.envelope #>> '{data,model_id}')::uuid
"""


def latest(connection: Connection, campaign: str, *, limit: int, among: int = 600) -> list[Happening]:
    """A campaign's latest events, newest first, as far as they are among the newest ``among`` of all."""
    rows = connection.execute(
        f"""SELECT * FROM ({_SELECT} WHERE o.sequence > (SELECT max(sequence) FROM outbox) - %s) AS found
            WHERE campaign = %s OR campaign IS NULL ORDER BY sequence DESC LIMIT %s""",
        (among, campaign, limit),
    ).fetchall()
    return [_told(row) for row in rows]


def _told(row: dict[str, Any]) -> Happening:
    name = str(row["type"]).removeprefix("gapsmith.").rpartition(".v")[0]
    kind, text = _WORDS.get(name, _plain)(row, row["data"])
    return Happening(row["sequence"], row["at"], row["campaign"], kind, text, row["candidate_id"])


def _plain(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    return "campaign", str(row["type"])


def _generate(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    parents = len(data.get("parents") or ())
    how = f"regrown from {_count(parents, 'parent')}" if parents else "new ones"
    return "asked", f"{data['count']} molecules asked for, {how}"


def _proposed(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    kept = len(data["candidate_ids"])
    return "drawn", f"{data['sampled']} molecules drawn, {kept} of them go on"


def _scored(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    again = " again" if data.get("rescored") else ""
    version = f" by surrogate:{row['model_version']}" if row["model_version"] is not None else ""
    return "scored", f"{_count(len(data['candidate_ids']), 'candidate')} scored{again}{version}"


def _requested(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    return "asked", f"{row['level'] or 'calculation'} asked for: {row['smiles'] or 'a molecule'}"


def _finished(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    molecule, level = row["smiles"] or "a molecule", row["level"] or "calculation"
    if data["state"] != "done":
        reason = f": {row['failure_reason']}" if row["failure_reason"] else ""
        return "failed", f"{level} of {molecule} {data['state']}{reason}"
    gap = data.get("gap_ev") if data.get("gap_ev") is not None else row["gap_ev"]
    if gap is None:
        return "done", f"{level} of {molecule} done"
    target = row["target"]
    hit = bool(target) and Window(float(target["value"]), float(target["tolerance"])).holds(float(gap))
    return (
        ("hit", f"{molecule}: {gap:.2f} eV, a hit ({level})")
        if hit
        else ("done", f"{molecule}: {gap:.2f} eV ({level})")
    )


def _training(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    return "trained", f"training of the {data['kind']} begins, with {_count(data['labels'], 'label')}"


def _trained(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    return "trained", f"training of the {data['kind']} ended: {data['verdict']}"


def _promoted(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
    version = "" if row["model_version"] is None else f":{row['model_version']}"
    return "promoted", f"{data['kind']}{version} is live"


def _changed(row: dict[str, Any], data: dict[str, Any]) -> tuple[str, str]:
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
