import asyncio
import hashlib
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from uuid import uuid4

import pytest
from starlette.datastructures import QueryParams

from gapsmith.core.errors import InputError
from gapsmith.dashboard import rendering
from gapsmith.dashboard.drawing import changed, svg
from gapsmith.dashboard.guard import _local
from gapsmith.dashboard.pages.question import Question
from gapsmith.dashboard.problems import sentences
from gapsmith.dashboard.reading.charts import calibration
from gapsmith.dashboard.service import listen
from gapsmith.dashboard.shared import Shared
from gapsmith.store.progress import Attempt
from gapsmith.store.query import Range

PACKAGE = files("gapsmith.dashboard")
VENDOR = PACKAGE / "static" / "vendor"


def attempt(gap: float | None, predicted: float, deviation: float) -> Attempt:
    return Attempt(
        uuid4(),
        "C",
        False,
        1.0,
        "labelled" if gap else "failed",
        None,
        gap,
        None,
        None,
        None,
        {},
        None,
        predicted,
        deviation,
    )


def test_calibration_counts_labels_inside_central_intervals() -> None:
    found = calibration([attempt(4.0 + z * 0.1, 4.0, 0.1) for z in (0.0, 0.5, -1.0, 1.5, 3.0)] + [attempt(None, 4, 1)])
    assert found["labels"] == 5
    shares = dict(zip(found["nominal"], found["observed"], strict=True))
    assert shares[0.1] == pytest.approx(0.2)  # |z| <= 0.126: the first
    assert shares[0.5] == pytest.approx(0.4)  # |z| <= 0.674
    assert shares[0.7] == pytest.approx(0.6)  # |z| <= 1.036
    assert shares[0.95] == pytest.approx(0.8)  # |z| <= 1.960


def test_nothing_to_calibrate_by() -> None:
    assert calibration([]) == {"nominal": [], "observed": [], "labels": 0}


def test_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    there = {path.name for path in VENDOR.iterdir()} - {"manifest.json"}
    assert {entry["file"] for entry in manifest} == there
    for entry in manifest:
        content = (VENDOR / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]
        assert entry["licence"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
    assert sum(entry["bytes"] for entry in manifest) < 4e6


def test_no_page_and_no_script_of_ours_names_an_address_elsewhere() -> None:
    ours = [path for folder in ("templates", "static") for path in walk(PACKAGE / folder) if "vendor" not in str(path)]
    assert len(ours) > 20
    for path in ours:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text, re.IGNORECASE), path
        assert "<script>" not in text
        assert not re.search(r"\son[a-z]+=", text) or not path.name.endswith(".html"), path


def walk(folder: Traversable) -> Iterator[Traversable]:
    for path in folder.iterdir():
        yield from walk(path) if path.is_dir() else [path]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1\u2009234\u2009567"), (0, "0"), (None, str(rendering.NONE))],
)
def test_counts(value: float | None, shown: str) -> None:
    assert str(rendering.number(value)) == shown


def test_shares_keep_two_digits() -> None:
    assert [rendering.percent(x) for x in (0.5, 0.0123, 0.00456, 0.0)] == ["50 %", "1.2 %", "0.46 %", "0 %"]


def test_a_time_is_for_the_browser_to_write() -> None:
    html = str(rendering.when(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))
    assert html == '<time datetime="2026-01-02T03:04:05.000+00:00">2026-01-02 03:04:05 UTC</time>'


def test_a_drawing_marks_what_the_parent_does_not_have() -> None:
    from rdkit import Chem

    mol = Chem.MolFromSmiles("CCC=O")
    atoms, bonds = changed(mol, "CC=O")
    assert len(atoms) == 1
    assert mol.GetAtomWithIdx(atoms[0]).GetSymbol() == "C"
    assert len(bonds) == 1
    assert changed(mol, "CCC=O") == ([], [])
    assert svg("CCC=O", "CC=O").count("<path") > svg("CCC=O").count("<path")


@pytest.mark.parametrize("smiles", ["no molecule", "", "C(("])
def test_what_is_no_molecule_is_an_empty_drawing(smiles: str) -> None:
    assert svg(smiles).rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:8700", True),
        ("localhost:8700", True),
        ("[::1]:8700", True),
        (socket.gethostname(), True),
        ("workstation", False),
        ("gapsmith.example.org", False),
        ("evil.example.org:8700", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_names_that_others_can_point_here_are_refused(host: str, local: bool) -> None:
    assert _local(host) is local


def test_an_address_is_a_question_and_back() -> None:
    asked = Question.of(
        QueryParams(
            "campaign=a&gap_ev_min=3,9&gap_ev_max=&smarts=c1ccncc1&sort=-gap&fields=state&fields=gap_ev&state=hit"
        )
    )
    query = asked.query()
    assert query.campaign == "a"
    assert query.ranges == {"gap_ev": Range(low=3.9)}
    assert query.smarts == "c1ccncc1"
    assert (query.sort, query.descending, query.hits) == ("gap", True, True)
    assert asked.columns == ("state", "gap_ev")
    again = Question.of(QueryParams(asked.address().partition("?")[2]))
    assert again == asked
    assert "gap_ev_max" not in asked.address()
    assert "sort=gap&gap_ev_min=3.9&" in asked.sorted_by("gap")


@pytest.mark.parametrize(
    "text", ["gap_ev_min=five", "state=happy", "sort=colour", "gap_ev_min=4&gap_ev_max=3", "in_qm9=maybe"]
)
def test_an_address_that_means_nothing_says_so(text: str) -> None:
    with pytest.raises(InputError):
        Question.of(QueryParams(text)).query()


def test_messages_become_sentences() -> None:
    assert sentences("name: it is taken", "") == "Name: it is taken."
    assert sentences("Is it there?", "look again") == "Is it there? Look again."


def test_many_ask_and_one_computes() -> None:
    calls = []

    async def ask() -> list[int]:
        shared = Shared()

        def make() -> int:
            calls.append(1)
            return len(calls)

        first = await asyncio.gather(*(shared.get("x", make, version=1, most_s=60) for _ in range(50)))
        second = await shared.get("x", make, version=2, most_s=60)
        third = await shared.get("x", make, version=2, most_s=0)
        return [*first, second, third]

    found = asyncio.run(ask())
    assert found == [1] * 50 + [2, 3]


def test_a_failure_is_not_kept() -> None:
    async def ask() -> str:
        shared = Shared()

        def fail() -> str:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await shared.get("x", fail, version=1, most_s=60)
        return await shared.get("x", lambda: "yes", version=1, most_s=60)

    assert asyncio.run(ask()) == "yes"


def test_a_taken_port_gives_way_to_the_next_free_one() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port) as second:
            assert port < second.getsockname()[1] <= port + 100


def test_a_search_that_ran_out_of_time_with_nothing_found_goes_on() -> None:
    asked = Question.of(QueryParams("smarts=N~N~N~N"))
    values = {"asked": asked, "rows": [], "problem": None, "size": 50}
    further = asked.address(cursor="7", page="2")
    told = rendering.render("candidates/results.html", following=further, **values)
    assert "Search on" in told
    assert further.replace("&", "&amp;") in told
    assert "No candidate is like that" in rendering.render("candidates/results.html", following=None, **values)
