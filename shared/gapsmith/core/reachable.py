"""Whether a target can be reached at all: what must predict it and what must compute it."""

from collections.abc import Collection, Mapping

from gapsmith.core import properties
from gapsmith.core.campaign import CampaignConfig
from gapsmith.core.domain import Level
from gapsmith.core.errors import InputError
from gapsmith.core.levels import LevelOfTheory, configured


def check_target(
    config: CampaignConfig, heads: Collection[str] | None, levels: Mapping[Level, LevelOfTheory] | None = None
) -> None:
    """Raise InputError unless the surrogate predicts the target's properties and the campaign's levels compute them.

    Args:
        config: of the campaign.
        heads: of the live surrogate; None: unknown, no surrogate is registered yet.
        levels: of the campaign; None: those of this process.
    """
    for number, wanted in enumerate(config.target.root):
        where = "target.property" if len(config.target.root) == 1 else f"target.{number}.property"
        name = wanted.property
        if heads is not None and name not in (known := properties.predictable(heads)):
            heads_of = " and ".join(wanted.kind.needs)
            raise InputError(
                f"{where}: the live surrogate does not predict {name!r}; it predicts {', '.join(known) or 'nothing'}. "
                f"Train one with a head for {heads_of} on labels of it (docs/training.md)"
            )
        for level in (Level.TRIAGE, Level.CERTIFICATE) if config.dft.certify else (Level.TRIAGE,):
            known = properties.computable((levels or configured())[level].properties)
            if name not in known:
                asked = ", ".join(wanted.kind.asks)
                raise InputError(
                    f"{where}: the level {level} does not compute {name!r}, only {', '.join(known)}; give it the "
                    f"properties [{asked}] in a levels file (GAPSMITH_LEVELS)"
                )
