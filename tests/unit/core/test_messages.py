import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from gapsmith.core.errors import InputError
from gapsmith.core.messages import (
    EVENTS,
    CalculationFinished,
    CandidatesProposed,
    Envelope,
    Event,
    GenerateRequested,
    Notice,
    TrainingRequested,
)


def test_an_event_survives_the_wire() -> None:
    event = CandidatesProposed(campaign_id=uuid4(), candidate_ids=(uuid4(), uuid4()), sampled=3, refused={"valence": 1})
    envelope = Envelope.wrap(event, source="generator")
    wire = envelope.model_dump_json().encode()
    assert Notice.parse(wire) == envelope.id
    assert Envelope.model_validate_json(wire).event() == event


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
        Notice.parse(raw)


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


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (GenerateRequested, {"count": 2 * 10**9, "target": {"gap_ev": 4.0}, "seed": 1}),
        (GenerateRequested, {"count": 1, "target": {"gap_ev": float("inf")}, "seed": 1}),
        (GenerateRequested, {"count": 1, "target": {f"p{n}": 1.0 for n in range(101)}, "seed": 1}),
        (GenerateRequested, {"count": 1, "target": {}, "seed": 2**70}),
        (GenerateRequested, {"count": 1, "target": {}, "seed": 1, "heavy_atoms": [1, 10**9]}),
        (GenerateRequested, {"count": 1, "target": {}, "seed": 1, "mask_fraction": 1e9}),
        (TrainingRequested, {"role": "surrogate", "labels": 1, "steps": 10**9}),
        (TrainingRequested, {"role": "surrogate", "labels": 1, "steps": 1, "processes": 10**6}),
        (TrainingRequested, {"role": "s" * 1000, "labels": 1, "steps": 1}),
    ],
)
def test_events_have_upper_bounds(kind: type[Event], data: dict[str, object]) -> None:
    envelope = Envelope(source="x", type=kind.TYPE, data={"campaign_id": str(uuid4()), **data})
    with pytest.raises(InputError, match="wrong data"):
        envelope.event()


def test_every_number_list_and_text_of_an_event_is_bounded() -> None:
    bounds = {"integer": {"maximum", "exclusiveMaximum"}, "array": {"maxItems"}, "object": {"maxProperties"}}
    for event in EVENTS.values():
        for name, schema in fields(event.model_json_schema()):
            assert bounds.get(str(schema.get("type"))) is None or bounds[schema["type"]] & set(schema), (event, name)


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in schema.get("properties", {}).items():
        for one in part.get("anyOf", [part]):
            yield name, one
