"""Campaigns: create, look up, change state. A change of state is an event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from gapsmith.core.campaign import Budget, CampaignConfig
from gapsmith.core.domain import Level
from gapsmith.core.errors import Conflict, NotFound
from gapsmith.core.hints import hint
from gapsmith.core.levels import LevelOfTheory, configured
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.messages import CampaignChanged
from gapsmith.core.model_domain import check_campaign, predicted_heads
from gapsmith.core.reachable import check_target
from gapsmith.core.reasons import Reason
from gapsmith.core.target import Target
from gapsmith.data import imported
from gapsmith.store import audits, calculations, candidates, outbox, selection, tasks
from gapsmith.store.database import Connection
from gapsmith.store.models import live_domains
from gapsmith.store.requests import GENERATOR


@dataclass(frozen=True)
class EarlierTarget:
    """A target that a campaign had before."""

    until: datetime
    target: str  # for people
    labels: int  # that there were by then


@dataclass(frozen=True)
class Campaign:
    """A row."""

    id: UUID
    name: str
    config: CampaignConfig
    state: CampaignState
    stop_reason: str | None
    stop_code: str | None  # a ReasonCode
    elapsed_s: float
    created_at: datetime
    ended_at: datetime | None
    levels: Mapping[Level, LevelOfTheory]  # as they were when it began; a level file that changes later changes nothing
    earlier_targets: Sequence[EarlierTarget]  # oldest first

    @property
    def change(self) -> Literal["geometry", "level"]:
        """What differs between a label and its certificate: only the geometry, or the level of theory itself."""
        label, certificate = self.levels[Level.TRIAGE], self.levels[Level.CERTIFICATE]
        return "geometry" if label.same_single_point(certificate) else "level"

    def level_lines(self) -> list[str]:
        """What its numbers are, for people: a line for each role."""
        names = " and ".join(dict.fromkeys(one.noun for one in self.config.target.properties))
        lines = [f"{names} at {role}: {self.levels[role].title}" for role in Level]
        if self.change == "level":
            lines.append(
                "labels and certificates are of different levels: a change between them is not one of geometry alone"
            )
        return lines


_SELECT = (
    "SELECT id, name, config, state, stop_reason, stop_code, elapsed_s, created_at, ended_at, levels, earlier_targets"
    " FROM campaigns"
)
_CHANGED = "SELECT name, state FROM campaigns WHERE id = %s FOR NO KEY UPDATE"  # candidates may still be added to it


def create(connection: Connection, config: CampaignConfig, *, source: str) -> Campaign:
    """Store a new campaign with this process's levels of theory.

    Raises:
        Conflict: its name is taken.
        InputError: it asks for more than the live models know, nothing predicts or computes its target, or the file of
            levels is wrong.
    """
    if by_name(connection, config.name) is not None:
        raise Conflict(f"name: a campaign called {config.name!r} exists already; choose another name")
    domains = live_domains(connection)
    check_campaign(config, domains)
    check_target(config, predicted_heads(domains))
    imported.check(config.data)
    campaign_id = uuid4()
    connection.execute(
        "INSERT INTO campaigns (id, name, config, state, levels) VALUES (%s, %s, %s, 'running', %s)",
        (campaign_id, config.name, _stored(config), Jsonb({role: pinned(configured()[role]) for role in Level})),
    )
    if config.constraints.hazards == "off":
        audits.switched_off(connection, campaign_id, source=source)
    outbox.emit(connection, CampaignChanged(campaign_id=campaign_id, state="running"), source=source)
    return get(connection, campaign_id)


def pinned(level: LevelOfTheory) -> dict[str, Any]:
    """A level as a campaign keeps it: its definition with its hash, and the title that stands with every number."""
    return {"title": level.title, "version": level.version, "definition": level.model_dump(mode="json")}


def get(connection: Connection, campaign_id: UUID) -> Campaign:
    """A campaign by id; raises NotFound."""
    row = connection.execute(f"{_SELECT} WHERE id = %s", (campaign_id,)).fetchone()
    if row is None:
        raise NotFound(f"no campaign has the id {campaign_id}")
    return _campaign(row)


def by_name(connection: Connection, name: str) -> Campaign | None:
    """A campaign by name."""
    row = connection.execute(f"{_SELECT} WHERE name = %s", (name,)).fetchone()
    return _campaign(row) if row else None


def named(connection: Connection, name: str) -> Campaign:
    """The campaign of that name; raises NotFound with the nearest name that there is."""
    if "\0" not in name and (found := by_name(connection, name)) is not None:
        return found
    raise NotFound(f"no campaign is called {name!r}{hint(name, [one.name for one in every(connection)])}")


def every(connection: Connection, *, state: CampaignState | None = None) -> list[Campaign]:
    """All campaigns, oldest first, or those in one state."""
    rows = connection.execute(
        f"{_SELECT} WHERE %(state)s::text IS NULL OR state = %(state)s ORDER BY created_at", {"state": state}
    ).fetchall()
    return [_campaign(row) for row in rows]


def set_state(
    connection: Connection, campaign_id: UUID, state: CampaignState, *, source: str, reason: Reason | None = None
) -> None:
    """Change a campaign's state; the tasks of one that ends are cancelled.

    Raises:
        NotFound, Conflict: there is no such campaign, or it has ended already.
    """
    row = connection.execute(_CHANGED, (campaign_id,)).fetchone()
    if row is None:
        raise NotFound(f"no campaign has the id {campaign_id}")
    old = CampaignState(row["state"])
    if old == state:
        return
    if old.ended:
        raise Conflict(f"campaign {row['name']!r} is {old}: it cannot become {state}")
    connection.execute(
        """UPDATE campaigns SET state = %s, stop_code = %s, stop_reason = %s, ended_at = CASE WHEN %s THEN now() END
           WHERE id = %s""",
        (state, *(reason or (None, None)), state.ended, campaign_id),
    )
    if state.ended:
        tasks.cancel(connection, campaign_id)
    outbox.emit(connection, CampaignChanged(campaign_id=campaign_id, state=state), source=source)


def retarget(connection: Connection, campaign_id: UUID, target: Target, *, source: str) -> None:
    """Give a campaign another target: known labels count by it at once, and what waits for the old one is dropped.

    Molecules that were asked of the generator, and calculations that nobody has begun, are taken back.

    Raises:
        InputError: the live surrogate does not predict it, or the campaign's levels do not compute it.
        NotFound, Conflict: there is no such campaign, or it has ended.
    """
    lock(connection, campaign_id)
    campaign = get(connection, campaign_id)
    if campaign.state.ended:
        raise Conflict(f"campaign {campaign.name!r} is {campaign.state}: its target cannot change any more")
    config = campaign.config.model_copy(update={"target": target})
    check_target(config, predicted_heads(live_domains(connection)), campaign.levels)
    if target == campaign.config.target:
        return
    connection.execute(
        """UPDATE campaigns SET config = %s, earlier_targets = earlier_targets
               || jsonb_build_object('until', now(), 'target', %s::text, 'labels', (SELECT count(*) FROM candidates
                                      WHERE campaign_id = campaigns.id AND state IN ('labelled', 'certified')))
           WHERE id = %s""",
        (_stored(config), str(campaign.config.target), campaign_id),
    )
    candidates.judge(connection, campaign_id)
    tasks.cancel(connection, campaign_id, service=GENERATOR)
    for candidate_id, calculation_id in selection.not_begun(connection, campaign_id).items():
        candidates.displace(connection, candidate_id)
        calculations.release_from(connection, campaign_id, calculation_id)
    for candidate_id, calculation_id in selection.idle_certificates(connection, campaign_id).items():
        candidates.uncertify(connection, candidate_id)
        calculations.release_from(connection, campaign_id, calculation_id)
    changed = CampaignChanged(campaign_id=campaign_id, state=campaign.state, target=str(target))
    outbox.emit(connection, changed, source=source)


def extend(connection: Connection, campaign_id: UUID, budget: Budget, *, source: str) -> None:
    """Give a campaign another budget; one that has finished goes on from where it was, and all that it computed counts.

    Raises:
        NotFound, Conflict: there is no such campaign, or it was stopped for good.
    """
    lock(connection, campaign_id)
    campaign = get(connection, campaign_id)
    if campaign.state is CampaignState.STOPPED:
        raise Conflict(f"campaign {campaign.name!r} was stopped for good; start another one: gapsmith run FILE")
    if campaign.state is CampaignState.FINISHED:
        candidates.reopen(connection, campaign_id)
    state = CampaignState.RUNNING if campaign.state.ended else campaign.state
    config = campaign.config.model_copy(update={"budget": budget})
    connection.execute(
        "UPDATE campaigns SET config = %s, state = %s, stop_code = NULL, stop_reason = NULL, ended_at = NULL WHERE id = %s",
        (_stored(config), state, campaign_id),
    )
    outbox.emit(connection, CampaignChanged(campaign_id=campaign_id, state=state), source=source)


def lock(connection: Connection, campaign_id: UUID) -> None:
    """Lock a campaign's row until the transaction ends; who adds candidates to it is not kept waiting."""
    connection.execute("SELECT 1 FROM campaigns WHERE id = %s FOR NO KEY UPDATE", (campaign_id,))


def tick(connection: Connection, campaign_id: UUID, *, most_s: float) -> None:
    """Count a running campaign's time since its last tick; of a longer gap (a pause, an outage) only ``most_s``.

    The database's clock decides, so it does not matter how many processes tick, or which.
    """
    connection.execute(
        """UPDATE campaigns SET ticked_at = clock_timestamp(), elapsed_s = elapsed_s + greatest(0, least(
               %s, coalesce(extract(epoch FROM clock_timestamp() - ticked_at), 0)))
           WHERE id = %s AND state = 'running'""",
        (most_s, campaign_id),
    )


def _stored(config: CampaignConfig) -> Jsonb:
    return Jsonb(config.model_dump(mode="json"))


def _campaign(row: dict[str, object]) -> Campaign:
    levels: Any = row["levels"]
    earlier: Any = row["earlier_targets"]
    fields: dict[str, Any] = {
        **row,
        "config": CampaignConfig.model_validate(row["config"]),
        "state": CampaignState(str(row["state"])),
        "levels": {Level(role): LevelOfTheory.model_validate(one["definition"]) for role, one in levels.items()},
        "earlier_targets": [EarlierTarget(**{**one, "until": datetime.fromisoformat(one["until"])}) for one in earlier],
    }
    return Campaign(**fields)
