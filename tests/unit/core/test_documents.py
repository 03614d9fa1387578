"""The one reader of documents: what it refuses, that it never raises anything else, and that messages stay short."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core import documents
from gapsmith.core.campaign import parse_campaign, read_campaign
from gapsmith.core.errors import CheckpointError, InputError
from gapsmith.core.levels import Levels
from gapsmith.training.card import card_alone

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
WRONG = {
    "too large": ("x: " + "a" * 1_000_001, "bytes|characters"),
    "aliases": (BOMB, "refers to another part"),
    "twice": ("name: a\nname: b\n", "'name' occurs twice"),
    "twice inside": ("a:\n  - {b: 1, b: 2}\n", "'b' occurs twice"),
    "deep": ("[" * 51 + "]" * 51, "more than 50 levels"),
    "very deep": ("[" * 100_000, "more than 50 levels"),
    "deep block": ("".join(f"{' ' * n}a:\n" for n in range(60)), "more than 50 levels"),
    "code": ("!!python/object/apply:os.system [id]", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not YAML"),
    "a key that is no text": ("yes: 1\n", "the key True is not a text"),
    "a key that is a list": ("? [a]\n: 1\n", "not YAML"),
    "a list": ("- 1\n", "must hold keys and values"),
    "nothing": ("", "must hold keys and values"),
    "control characters": ("a: \x01\n", "not YAML"),
    "huge integer": ("a: " + "9" * 10_000, "not YAML"),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_yaml_that_is_refused(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    path = tmp_path / "a.yaml"
    path.write_text(text)
    started = time.monotonic()
    for read in (documents.read, read_campaign, Levels.load):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert len(str(caught.value)) < 1000
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": 1e999}', "not finite"),
        ("[" * 100_000, "levels"),
        ('{"a":' * 60 + "1" + "}" * 60, "more than 50 levels"),
        ('{"a": ' + "9" * 10_000 + "}", "not JSON"),
        ("{", "not JSON"),
        ("null", "must hold keys"),
        ("\x00", "not JSON"),
    ],
)
def test_json_that_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        documents.read(path)
    path.with_suffix(".safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=message):
        card_alone(path.with_suffix(".safetensors"))


@pytest.mark.parametrize("raw", [b"\xff\xfea", b"\x80abc", b"a: \xc3\x28"])
def test_bytes_that_are_no_text_are_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(raw)
    with pytest.raises(InputError, match="cannot be read"):
        documents.read(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", ["missing.yaml", "x" * 300, "a\0b", "."])
def test_files_that_cannot_be_read_are_named(name: str, tmp_path: Path) -> None:
    for read in (documents.read, read_campaign, Levels.load):
        with pytest.raises(InputError):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"target": {"value": True}},
        {"budget": {"dft_jobs": True}},
        {"budget": {"wall_time": True}},
        {"constraints": {"heavy_atoms": [True, 5]}},
        {"constraints": {"sa_score": True}},
        {"seed": False},
        {"budget": {"wanted_hits": 10**12}},
        {"retraining": {"every_labels": 10**12}},
        {"budget": {"wall_time": "9" * 400 + "d"}},
        {"budget": {"wall_time": "99999d"}},
        {"constraints": {"heavy_atoms": [1, 10**12]}},
        {"constraints": {"forbidden_smarts": ["C"] * 101}},
        {"name": "x" * 100_000},
        {"x" * 100_000: 1},
        {"acquisition": {"pool": 1e300}},
    ],
)
def test_a_campaign_takes_no_booleans_for_numbers_and_has_upper_bounds(change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        parse_campaign({"name": "a", "target": {"value": 4.0}, **change})
    assert len(str(caught.value)) < 600


def test_a_level_takes_no_booleans_for_numbers(tmp_path: Path) -> None:
    level = {"engine": "pyscf", "method": "b3lypg", "basis": "sto-3g", "grid": True}
    (tmp_path / "levels.yaml").write_text(yaml.safe_dump({"levels": {"mine": level}}))
    with pytest.raises(InputError, match=r"grid: .*true and false"):
        Levels.load(tmp_path / "levels.yaml")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=5))
def test_what_json_and_yaml_write_is_read_back(found: dict[str, Any]) -> None:
    assert documents.parse(json.dumps(found), "a") == found
    assert documents.parse(yaml.safe_dump(found, allow_unicode=False), "a", kind="YAML") == found


def message_of(work: Callable[[], object]) -> str:
    """The message of an InputError; nothing if there is none."""
    try:
        work()
    except InputError as error:
        return str(error)
    return ""


@given(st.text(max_size=300), st.sampled_from(["JSON", "YAML"]))
def test_any_text_is_a_document_or_an_input_error(text: str, kind: str) -> None:
    message = message_of(lambda: documents.value(text, "name", kind=kind))
    assert message == "" or message.startswith("name ")
    assert len(message) < 1000


@given(PLAIN)
def test_any_campaign_is_valid_or_an_input_error(found: Any) -> None:
    for raw in (found, {"name": "a", "target": found}, {"name": "a", "target": {"value": 4.0}, "budget": found}):
        if isinstance(raw, dict):
            assert len(message_of(partial(parse_campaign, raw))) < 5000
