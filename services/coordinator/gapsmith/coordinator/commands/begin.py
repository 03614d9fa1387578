"""Which campaign a file means: a new one, one that goes on, or one that goes on with another budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from gapsmith.coordinator import policy, snapshot
from gapsmith.core.campaign import Budget, CampaignConfig
from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.units import duration
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Meaning:
    """What running a file would do."""

    name: str  # of the campaign that would run
    goes_on: Campaign | None = None  # none: a new one
    budget: Budget | None = None  # the new one, if only the budget has changed
    differs_from: str | None = None  # the last campaign of this name, whose file said something else

    def words(self) -> str:
        """One sentence for a person."""
        if self.goes_on is None:
            changed = (
                f" (the file has changed since {self.differs_from}, whose results stay)" if self.differs_from else ""
            )
            return f"campaign {self.name} begins{changed}"
        if self.budget is not None:
            changes = budget_changes(self.goes_on.config.budget, self.budget)
            return f"campaign {self.name} ({self.goes_on.state}) goes on with {changes}; what it computed counts"
        if self.goes_on.state.ended:
            return f"campaign {self.name} has ended before: here are its results"
        return f"campaign {self.name} goes on"


def meaning(campaigns: Sequence[Campaign], config: CampaignConfig) -> Meaning:
    """What a file means beside the campaigns that there are, oldest first."""
    family = [one for one in campaigns if one.name == config.name or _numbered(one.name, config.name)]
    for one in reversed(family):
        if one.config.model_copy(update={"name": config.name}) == config:
            return Meaning(one.name, one)
    for one in reversed(family):
        alike = one.config.model_copy(update={"name": config.name, "budget": config.budget}) == config
        if alike and one.state is not CampaignState.STOPPED:  # stopped means for good
            return Meaning(one.name, one, config.budget)
    if not family:
        return Meaning(config.name)
    return Meaning(f"{config.name}-{len(family) + 1}", differs_from=family[-1].name)


def budget_changes(old: Budget, new: Budget) -> str:
    """What differs: ``dft_jobs 40 (was 16)``."""
    before, after = _shown(old), _shown(new)
    return ", ".join(f"{key} {after[key]} (was {before[key]})" for key in after if after[key] != before[key])


def extend(connection: Connection, campaign: Campaign, budget: Budget) -> None:
    """Let a campaign go on with another budget, in a transaction that an error must roll back.

    Raises:
        InputError: it was stopped for good, or it would end at once.
    """
    campaigns.extend(connection, campaign.id, budget, source="cli")
    changed = campaigns.get(connection, campaign.id)
    reason = policy.stop_reason(changed.config, snapshot.take(connection, changed, workers=1))
    if reason is not None:
        raise InputError(
            f"campaign {campaign.name} would end at once: {reason.text}; what is done counts, so raise dft_jobs, wall_time "
            "or wanted_hits beyond it"
        )


def _shown(budget: Budget) -> dict[str, str]:
    return {
        "dft_jobs": str(budget.dft_jobs),
        "wall_time": duration(budget.wall_time.total_seconds()),
        "wanted_hits": "any" if budget.wanted_hits is None else str(budget.wanted_hits),
    }


def _numbered(name: str, base: str) -> bool:
    head, _, number = name.rpartition("-")
    return head == base and number.isdigit()
