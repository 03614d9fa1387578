"""What comes out of files is harmless where it goes: names, cells of tables, requests."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gapsmith.core.chemistry.reader import read_molecules
from gapsmith.core.chemistry.records import MOST_NAME, Record
from gapsmith.core.output import cells
from gapsmith.dashboard import guard

CONTROLS = "\x1b]0;owned\x07\x1b[31m red \u202e\u2028\ud800\0 name"


@given(st.text(max_size=400) | st.text(alphabet=CONTROLS, max_size=400))
@example(CONTROLS)
@example("x" * 10_000)
def test_names_are_one_printable_line(name: str) -> None:
    found = Record(name, "here").name
    assert found == "" or (found.isprintable() and len(found) <= MOST_NAME)
    assert Record(found, "here").name == found.strip()
    found.encode()


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("smi", "CCO \x1b[31mred\x07{}\n"),
        ("csv", "name,smiles\n\x1b[31mred\x07{},CCO\n"),
        ("xyz", "3\nname=\x1b[31mred\x07{}\nO 0 0 0.1\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n"),
    ],
)
def test_names_of_files_are_cleaned_when_they_are_read(ending: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text(text.format("x" * 500))
    (record,) = read_molecules(path)
    assert record.name.isprintable()
    assert len(record.name) <= MOST_NAME


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "=", "-", "-CH3", "+"]
)
def test_formulas_are_quoted(text: str) -> None:
    assert cells([text]) == [f"'{text}"]


@pytest.mark.parametrize("value", ["-1.5", "+3", "-inf", "1e-3", "CCO", "[O-]", "", "a=b", None, -1.5, 3])
def test_numbers_and_ordinary_texts_stay(value: object) -> None:
    assert cells([value]) == [value]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_no_cell_of_a_table_begins_a_formula(texts: list[str]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells(texts))
    for cell in next(csv.reader(io.StringIO(stream.getvalue(), newline=""))):
        if cell.startswith(("=", "+", "-", "@")):
            float(cell)


@pytest.mark.parametrize(
    ("path", "query", "kind", "body"),
    [
        ("/campaigns/a\0b", b"", "", b""),
        ("/candidates", b"campaign=a%00b", "", b""),
        ("/campaigns/new", b"", "application/x-www-form-urlencoded", b"name=a%00b"),
        ("/api/v1/campaigns", b"", "application/json", b'{"name": "a\\u0000"}'),
        ("/api/v1/campaigns", b"", "application/json", b'{"name": ["\\ud800"]}'),
        ("/api/v1/campaigns", b"", "application/json", b'{"\\udfff": 1}'),
        ("/api/v1/campaigns", b"", "application/json; charset=utf-8", b"[" * 100_000),
    ],
)
def test_characters_that_no_text_may_have_are_refused_once(path: str, query: bytes, kind: str, body: bytes) -> None:
    with pytest.raises(guard.Malformed):
        guard._check({"path": path, "query_string": query}, kind, body)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_all_other_texts_pass(text: str) -> None:
    body = json.dumps({"name": [text]}).encode()
    guard._check({"path": f"/{text}", "query_string": b"a=%F0%9F%98%80"}, "application/json", body)


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("localhost:8700", True),
        ("127.0.0.1:8700", True),
        ("127.8.9.1", True),
        ("[::1]:8700", True),
        ("dash.localhost", True),
        ("rebound.example.org", False),
        ("intranet", False),
        ("192.168.1.5:8700", False),
        ("", False),
    ],
)
def test_hosts_are_names_of_this_machine(host: str, accepted: bool) -> None:
    assert guard._local(host) is accepted
