import json
from uuid import uuid4

import pytest

from gapsmith.core.errors import InputError
from gapsmith.core.messages import (
    EVENTS,
    CalculationFinished,
    CandidatesProposed,
    Envelope,
    GenerateRequested,
)


def test_an_event_survives_the_wire() -> None:
    event = CandidatesProposed(campaign_id=uuid4(), candidate_ids=(uuid4(), uuid4()), sampled=3, refused={"valence": 1})
    envelope = Envelope.wrap(event, source="generator")
    received = Envelope.parse(envelope.model_dump_json().encode())
    assert received == envelope
    assert received.event() == event


def test_the_wire_format_is_cloudevents() -> None:
    event = GenerateRequested(campaign_id=uuid4(), count=4, target={"gap_ev": 4.0}, seed=1)
    wire = json.loads(Envelope.wrap(event, source="coordinator").model_dump_json())
    assert wire["specversion"] == "1.0"
    assert wire["source"] == "gapsmith/coordinator"
    assert wire["type"] == "gapsmith.generate.requested.v1"
    assert {"id", "time", "datacontenttype", "data"} <= set(wire)


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b"{}", b'{"specversion": "1.0"}', b"\xff\xfe"])
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError, match="not a CloudEvents envelope"):
        Envelope.parse(raw)


def test_unknown_types_and_wrong_data_are_refused() -> None:
    good = Envelope.wrap(CalculationFinished(calculation_id=uuid4(), state="done"), source="dft_queue")
    with pytest.raises(InputError, match=r"unknown type 'gapsmith\.nothing\.v1'"):
        good.model_copy(update={"type": "gapsmith.nothing.v1"}).event()
    with pytest.raises(InputError, match="wrong data"):
        good.model_copy(update={"data": {"calculation_id": "x"}}).event()
    with pytest.raises(InputError, match="wrong data"):
        good.model_copy(update={"data": {**good.data, "extra": 1}}).event()


def test_types_are_versioned_and_each_has_its_topic() -> None:
    assert all(name.rpartition(".v")[2].isdigit() for name in EVENTS)
    assert len({event.TOPIC for event in EVENTS.values()}) == len(EVENTS)
