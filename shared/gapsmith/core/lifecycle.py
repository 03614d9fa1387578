"""States of everything that changes, with the transitions that are allowed, and what a hit is."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class CampaignState(StrEnum):
    """Where a campaign is."""

    RUNNING = "running"
    PAUSED = "paused"  # nothing new is proposed or dispatched; what runs is finished
    FINISHED = "finished"  # a stop rule held; ``stop_reason`` says which
    STOPPED = "stopped"  # by its user

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (CampaignState.FINISHED, CampaignState.STOPPED)


class CandidateState(StrEnum):
    """Where a candidate is."""

    PROPOSED = "proposed"
    REJECTED = "rejected"  # invalid, duplicate, forbidden, broken: ``reason`` says which
    SCORED = "scored"  # relaxed with xTB, its gap predicted
    SELECTED = "selected"  # a triage calculation was requested
    LABELLED = "labelled"  # DFT at the xTB geometry: triage
    CERTIFIED = "certified"  # DFT at the DFT geometry
    FAILED = "failed"  # its calculation failed: ``reason``
    WITHDRAWN = "withdrawn"  # taken back before it was computed


class CalculationState(StrEnum):
    """Where a calculation is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    """Where a service's unit of long work is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"  # its campaign has ended


class ModelState(StrEnum):
    """Where a model is."""

    CANDIDATE = "candidate"  # trained, not judged yet
    LIVE = "live"  # the one that the service uses; one per kind
    RETIRED = "retired"  # was live
    REJECTED = "rejected"  # by the promotion gate: ``verdict``


# Table: state: states that may follow. A trigger of the database refuses everything else.
TRANSITIONS: Final[Mapping[str, Mapping[StrEnum, tuple[StrEnum, ...]]]] = {
    "campaigns": {
        CampaignState.RUNNING: (CampaignState.PAUSED, CampaignState.FINISHED, CampaignState.STOPPED),
        CampaignState.PAUSED: (CampaignState.RUNNING, CampaignState.STOPPED),
        CampaignState.FINISHED: (CampaignState.RUNNING,),  # its budget was extended
    },
    "candidates": {
        CandidateState.PROPOSED: (CandidateState.REJECTED, CandidateState.SCORED),
        CandidateState.SCORED: (CandidateState.SELECTED,),
        CandidateState.SELECTED: (
            CandidateState.SCORED,  # displaced by a better one, or its calculation was taken back
            CandidateState.LABELLED,
            CandidateState.FAILED,
            CandidateState.WITHDRAWN,
        ),
        CandidateState.LABELLED: (CandidateState.CERTIFIED,),
        CandidateState.FAILED: (CandidateState.SELECTED,),  # its calculation is tried again
        CandidateState.WITHDRAWN: (
            CandidateState.SELECTED,  # its cancelled calculation is tried again
            CandidateState.SCORED,  # its campaign had finished and was extended
        ),
    },
    "calculations": {
        CalculationState.QUEUED: (CalculationState.RUNNING, CalculationState.CANCELLED),
        CalculationState.RUNNING: (
            CalculationState.QUEUED,  # given back, or tried again
            CalculationState.DONE,
            CalculationState.FAILED,
            CalculationState.CANCELLED,
        ),
        CalculationState.FAILED: (CalculationState.QUEUED,),
        CalculationState.CANCELLED: (CalculationState.QUEUED,),
    },
    "tasks": {
        TaskState.PENDING: (TaskState.RUNNING, TaskState.CANCELLED),
        TaskState.RUNNING: (TaskState.PENDING, TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED),
    },
    "models": {
        ModelState.CANDIDATE: (ModelState.LIVE, ModelState.REJECTED),
        ModelState.LIVE: (ModelState.RETIRED,),
        ModelState.RETIRED: (ModelState.LIVE,),
        ModelState.REJECTED: (ModelState.LIVE,),  # a person may overrule the gate
    },
}


class Outcome(StrEnum):
    """What a candidate with a DFT label is with regard to its campaign's target; one outside all along has none.

    The values that count are the certificate's (DFT at the DFT geometry) if there is one, else the label's (DFT at the
    xTB geometry). A hit is a candidate whose values that count hold all windows of the target.
    """

    HIT_BY_LABEL = "hit_by_label"  # inside; there is no certificate (yet)
    HIT_BY_CERTIFICATE = "hit_by_certificate"  # inside, whatever the label was
    MISSED = "missed"  # inside by its label, outside by its certificate

    @property
    def hit(self) -> bool:
        """Whether it counts as a hit."""
        return self is not Outcome.MISSED

    @classmethod
    def of(cls, by_label: bool, by_certificate: bool | None) -> "Outcome | None":
        """The outcome, given whether the label and the certificate hold all windows; None: there is no certificate."""
        if by_certificate is None:
            return cls.HIT_BY_LABEL if by_label else None
        if by_certificate:
            return cls.HIT_BY_CERTIFICATE
        return cls.MISSED if by_label else None
