"""Takes a campaign's snapshot out of Postgres, where all its state is: a restarted coordinator sees the same."""

from dataclasses import asdict

from gapsmith.coordinator.policy import Proposals, Requests, Snapshot
from gapsmith.store import progress, requests
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection


def take(connection: Connection, campaign: Campaign, *, workers: int) -> Snapshot:
    """The snapshot of a campaign whose row the caller holds locked."""
    now = progress.counts(connection, campaign.id)
    trainings = requests.trainings(connection, campaign.id)
    drawn = requests.draws(connection, campaign.id)
    return Snapshot(
        state=campaign.state,
        elapsed_s=campaign.elapsed_s,
        workers=workers,
        waiting=now.waiting,
        open_triage=now.dft_open,
        used_jobs=now.dft_open + now.dft_done,
        labels=now.labels,
        hits=now.hits,
        certified_hits=now.certified_hits,
        uncertified_hits=now.uncertified_hits,
        open_certificates=now.certificates_open,
        requests=Requests(**asdict(requests.generations(connection, campaign.id))),
        proposals=Proposals(
            sampled=drawn.sampled,
            # what the surrogate has given up on stays proposed for ever, and nothing is to be expected of it
            unjudged=now.waiting_to_score if drawn.open else 0,
            judged=max(drawn.proposed - now.waiting_to_score, 0),
            usable=now.usable,
        ),
        parents=now.waiting + now.labels,
        trained_labels=trainings.labels,
        open_trainings=trainings.open,
        trainings=trainings.asked,
        since_training_s=trainings.since_s,
        drift=progress.drift(connection, campaign.id, trainings.labels) if campaign.config.retraining.drift else 0.0,
    )
