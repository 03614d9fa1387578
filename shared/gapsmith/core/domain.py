"""Vocabulary of the whole system: states, and the few values that services hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands that only ask the database need not wait for it
    import numpy as np


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
    """Where a candidate is. proposed -> rejected | scored -> selected -> labelled -> certified | failed | withdrawn."""

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


class ModelState(StrEnum):
    """Where a model is."""

    CANDIDATE = "candidate"  # trained, not judged yet
    LIVE = "live"  # the one that the service uses; one per kind and campaign scope
    RETIRED = "retired"  # was live
    REJECTED = "rejected"  # the gate said no: ``verdict``


class Level(StrEnum):
    """Levels of theory of a campaign."""

    TRIAGE = "triage"  # density-fitted B3LYP/6-31G(2df,p) single point at the GFN2-xTB geometry
    CERTIFICATE = "certificate"  # the same after relaxation at that level


@dataclass(frozen=True)
class Molecule:
    """Atoms with their positions, and the bonds when they are known."""

    numbers: np.ndarray  # (atoms,) uint8, atomic numbers
    coordinates: np.ndarray  # (atoms, 3) float64, angstrom
    charges: np.ndarray  # (atoms,) int8, formal charges
    bonds: np.ndarray  # (bonds, 3) int16: first atom, second atom, order 1-3 (kekulised); empty if unknown

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.numbers)


@dataclass(frozen=True)
class Window:
    """The wanted range of the gap."""

    value_ev: float
    tolerance_ev: float

    @property
    def low_ev(self) -> float:
        """Lower end, included."""
        return self.value_ev - self.tolerance_ev

    @property
    def high_ev(self) -> float:
        """Upper end, included."""
        return self.value_ev + self.tolerance_ev

    def holds(self, gap_ev: float) -> bool:
        """Whether a gap is inside."""
        return self.low_ev <= gap_ev <= self.high_ev
