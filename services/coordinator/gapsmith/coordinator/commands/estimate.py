"""``gapsmith run --dry-run``: what would happen, and about how long it would take."""

import math
import os
from collections.abc import Mapping
from datetime import timedelta

from gapsmith.core.campaign import CampaignConfig, Retraining
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.settings import settings
from gapsmith.core.units import duration

# CPU-seconds on one core of a 2.4 GHz server, rough: `python -m benchmarks dft` has 3, 5, 7 and 9 heavy atoms
TRIAGE_CPU_S = {1: 0.7, 2: 0.8, 3: 0.9, 4: 1.6, 5: 2.5, 6: 4.0, 7: 6.3, 8: 9.5, 9: 14.5}
CERTIFICATE_FACTOR = 10.0  # a relaxation takes some four gradients, each dearer than a single point
MOLECULES_PER_S = 4.0  # generated, relaxed with GFN2-xTB and scored, on two cores
EXPECTED_HIT_SHARE = 0.3


def triage_cpu_s(heavy_atoms: int) -> float:
    """CPU-seconds of a single point; beyond the measured sizes by the power law of the largest two."""
    if heavy_atoms in TRIAGE_CPU_S:
        return TRIAGE_CPU_S[heavy_atoms]
    largest = max(TRIAGE_CPU_S)
    power = math.log(TRIAGE_CPU_S[largest] / TRIAGE_CPU_S[largest - 1]) / math.log(largest / (largest - 1))
    return float(TRIAGE_CPU_S[largest] * (heavy_atoms / largest) ** power)


def plan(config: CampaignConfig, domains: Mapping[str, ModelDomain]) -> list[str]:
    """The plan in lines for a person, given what the live models know."""
    own = settings()
    budget, limits = config.budget, config.constraints
    known = list(domains.values())
    fewest = max(one.heavy_atoms[0] for one in known)
    most = min(one.heavy_atoms[1] for one in known)
    fewest, most = limits.heavy_atoms or (fewest, most)
    common = [one for one in known[0].elements if one != "H" and all(one in other.elements for other in known)]
    triage = sum(triage_cpu_s(n) for n in range(fewest, most + 1)) / (most - fewest + 1)
    workers = min(own.dft_workers, os.cpu_count() or 1)
    first = config.acquisition.pool / MOLECULES_PER_S
    hits = EXPECTED_HIT_SHARE * budget.dft_jobs
    certificates = triage * CERTIFICATE_FACTOR * min(hits, budget.wanted_hits or hits) if config.dft.certify else 0.0
    dft = (triage * budget.dft_jobs + certificates) / workers
    total = timedelta(seconds=first + dft)
    lines = [
        f"campaign    {config.name}",
        f"target      {config.target}{_base_rate(config)}",
        f"molecules   {', '.join(limits.elements or common)} and H, {fewest} to {most} heavy atoms, SA score up to "
        f"{limits.sa_score:g}, {len(limits.forbidden_smarts)} forbidden and {len(limits.required_smarts)} required "
        "patterns" + (", none of QM9" if limits.novel else ""),
        f"generator   {config.exploration.batch} molecules a request, {config.exploration.regrown_share:.0%} regrown "
        f"from the best with {config.exploration.mask_fraction:.0%} redrawn; about {duration(first)} to the first "
        f"{config.acquisition.pool}",
        f"DFT         {budget.dft_jobs} triage calculations of about {duration(triage)} on {workers} workers"
        + (", hits relaxed and computed again" if config.dft.certify else ""),
        f"retraining  {_retraining(config.retraining)}",
        f"servers     {'named by settings' if own.postgres_url else f'embedded, data in {own.home}'}",
        f"time        about {duration(total.total_seconds())}, at most {duration(budget.wall_time.total_seconds())}",
    ]
    if total > budget.wall_time:
        lines.append("note        the wall time is likely to end first: raise it, or lower dft_jobs or heavy_atoms")
    return lines


def _retraining(retraining: Retraining) -> str:
    return (
        f"{' and '.join(retraining.models)} after every {retraining.every_labels} labels"
        if retraining.enabled
        else "off"
    )


def _base_rate(config: CampaignConfig) -> str:
    """Share of QM9 that holds all windows, if QM9 was prepared before: a dry run prepares nothing."""
    from gapsmith.data import qm9
    from gapsmith.store.results import holding

    if not qm9.path().is_file():
        return ""
    inside = holding(qm9.load(qm9.path()), config.target)
    return "" if inside is None else f" ({inside.mean():.2%} of QM9's molecules)"
