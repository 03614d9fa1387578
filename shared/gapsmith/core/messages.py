"""Every event, versioned. Kafka carries them in CloudEvents' JSON form; they hold ids and numbers, never geometries.

An event's class is its schema: ``TYPE`` is its CloudEvents type (its last part the version) and ``TOPIC`` its topic. Every
number and every list has an upper bound. What consumers handle is the event that stands in the outbox; of a message they
only read the id, because whoever reaches the broker can write messages.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gapsmith.core.errors import InputError

MOST_CANDIDATES: Final = 100_000  # of one event
MOST_SENTENCE: Final = 2000  # characters
MOST_MESSAGE: Final = 16 << 20  # bytes

Ids = Annotated[tuple[UUID, ...], Field(max_length=MOST_CANDIDATES)]
Name = Annotated[str, Field(max_length=64)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Sentence = Annotated[str, BeforeValidator(lambda text: text[:MOST_SENTENCE] if isinstance(text, str) else text)]
Size = Annotated[int, Field(ge=1, le=100_000)]


class Event(BaseModel):
    """What happened; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]

    campaign_id: UUID | None = None


class GenerateRequested(Event):
    """The coordinator wants more candidates."""

    TYPE = "gapsmith.generate.requested.v1"
    TOPIC = "gapsmith.generate.requested"
    campaign_id: UUID
    count: Annotated[int, Field(gt=0, le=10_000)]  # molecules to propose
    target: Annotated[
        dict[Name, Number], Field(max_length=100)
    ]  # wanted values by property with unit, e.g. {"gap_ev": 4.0}
    seed: Seed
    parents: Ids = ()  # candidates to regrow; none: de novo
    mask_fraction: Annotated[float, Field(gt=0, le=1)] | None = None  # of a parent's heavy atoms, with parents only
    heavy_atoms: tuple[Size, Size] | None = None  # least and most heavy atoms
    elements: Annotated[tuple[Name, ...], Field(max_length=118)] | None = None  # allowed elements besides hydrogen


class CandidatesProposed(Event):
    """The generator wrote candidates; those it refused are only counted."""

    TYPE = "gapsmith.candidates.proposed.v1"
    TOPIC = "gapsmith.candidates.proposed"
    campaign_id: UUID
    candidate_ids: Ids
    sampled: Annotated[int, Field(ge=0, le=10**9)]  # molecules drawn
    refused: Annotated[dict[Name, int], Field(max_length=100)]  # reason -> count, of those that were no molecule at all


class CandidatesScored(Event):
    """The surrogate relaxed and judged candidates; states and predictions are in Postgres."""

    TYPE = "gapsmith.candidates.scored.v1"
    TOPIC = "gapsmith.candidates.scored"
    campaign_id: UUID
    candidate_ids: Ids
    model_id: UUID
    rescored: bool = False  # by a new model, not for the first time


class CalculationRequested(Event):
    """A row in ``calculations`` waits for a worker."""

    TYPE = "gapsmith.calculation.requested.v1"
    TOPIC = "gapsmith.calculation.requested"
    calculation_id: UUID
    queue: Literal["dft", "xtb"] = "dft"  # which workers: dft, or xtb for short jobs
    priority: Annotated[int, Field(ge=-(10**6), le=10**6)] = 0  # higher first


class CalculationFinished(Event):
    """A calculation ended, well or not."""

    TYPE = "gapsmith.calculation.finished.v1"
    TOPIC = "gapsmith.calculation.finished"
    calculation_id: UUID
    state: Name  # done, failed or cancelled


class TrainingRequested(Event):
    """The coordinator wants the model retrained on what was labelled."""

    TYPE = "gapsmith.training.requested.v1"
    TOPIC = "gapsmith.training.requested"
    campaign_id: UUID
    role: Name  # of trainable: "surrogate" or "generator"
    labels: Annotated[int, Field(ge=0, le=10**9)]  # how many there were when it was asked
    steps: Annotated[int, Field(gt=0, le=1_000_000)]
    processes: Annotated[int, Field(gt=0, le=1024)] = 1
    seed: Seed = 0


class TrainingFinished(Event):
    """A training ended; ``verdict`` says what the promotion gate found."""

    TYPE = "gapsmith.training.finished.v1"
    TOPIC = "gapsmith.training.finished"
    campaign_id: UUID
    role: Name
    model_id: UUID | None
    promoted: bool
    verdict: Sentence


class ModelPromoted(Event):
    """A model went live."""

    TYPE = "gapsmith.model.promoted.v1"
    TOPIC = "gapsmith.model.promoted"
    role: Name
    model_id: UUID


class CampaignChanged(Event):
    """A campaign was created, paused, resumed, stopped or finished, or has another budget or target."""

    TYPE = "gapsmith.campaign.changed.v1"
    TOPIC = "gapsmith.campaign.changed"
    campaign_id: UUID
    state: Name
    target: Sentence | None = None  # the new one, for people


EVENTS: dict[str, type[Event]] = {
    event.TYPE: event
    for event in (
        GenerateRequested,
        CandidatesProposed,
        CandidatesScored,
        CalculationRequested,
        CalculationFinished,
        TrainingRequested,
        TrainingFinished,
        ModelPromoted,
        CampaignChanged,
    )
}
DEAD_LETTER_TOPIC = "gapsmith.dead-letters"


class Envelope(BaseModel):
    """CloudEvents 1.0, structured JSON."""

    model_config = ConfigDict(frozen=True)
    specversion: str = "1.0"
    id: UUID = Field(default_factory=uuid4)
    source: str  # "gapsmith/<service>"
    type: str
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    datacontenttype: str = "application/json"
    data: dict[str, object]

    @classmethod
    def wrap(cls, event: Event, *, source: str) -> "Envelope":
        """Put an event into an envelope with a new id."""
        return cls(source=f"gapsmith/{source}", type=event.TYPE, data=event.model_dump(mode="json"))

    def event(self) -> Event:
        """The event inside; raises InputError if its type is unknown or its data wrong."""
        if self.type not in EVENTS:
            raise InputError(f"event {self.id} has the unknown type {self.type!r}")
        try:
            return EVENTS[self.type].model_validate_json(json.dumps(self.data))
        except ValidationError as error:
            raise InputError(f"event {self.id} of type {self.type} has wrong data: {error}") from error


class Notice(BaseModel):
    """What a consumer reads of a message: which event happened."""

    id: UUID

    @classmethod
    def parse(cls, raw: bytes) -> UUID:
        """The event's id; raises InputError."""
        if len(raw) > MOST_MESSAGE:
            raise InputError(f"message has {len(raw)} bytes; at most {MOST_MESSAGE} are possible")
        try:
            return cls.model_validate_json(raw).id
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise InputError(f"message is not a CloudEvents envelope: {reason}") from error
