"""Pages of candidates equal a plain scan: any filters, any order, substructures, similarities; while others write."""

import random
from typing import Any
from uuid import UUID

import pytest
from many_candidates import FIRST, METHANE, MOST, SECOND, add_model, fill, molecules, prediction
from rdkit import Chem

from gapsmith.core import columns, properties
from gapsmith.core.chemistry.identity import identify, tanimoto, unpack_fingerprints
from gapsmith.core.chemistry.screening import matches
from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import CandidateState
from gapsmith.store import campaigns, candidates, fingerprints, models, query_search
from gapsmith.store.database import Database, held
from gapsmith.store.query import CandidateQuery, Range, bounded, find, page

pytestmark = pytest.mark.service

SCAN = """
    SELECT c.id AS candidate_id, g.name AS campaign, c.state, coalesce(p.said, '{}') AS said, m.sa_score, m.heavy_atoms,
           coalesce(t.properties, '{}') || coalesce(k.properties, '{}') AS computed, m.in_qm9,
           m.smiles, m.fingerprint, c.created_at AS created
    FROM candidates c JOIN campaigns g ON g.id = c.campaign_id JOIN molecules m ON m.id = c.molecule_id
    LEFT JOIN calculations t ON t.id = c.triage_id LEFT JOIN calculations k ON k.id = c.certificate_id
    LEFT JOIN LATERAL (SELECT q.properties AS said FROM predictions q JOIN models ON models.id = q.model_id
                       WHERE q.candidate_id = c.id ORDER BY (models.state = 'live') DESC, models.version DESC LIMIT 1) p
        ON true"""
WINDOWS = {FIRST: (3.5, 4.5), SECOND: (5.5, 6.5)}


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    """A database of some hundred candidates that nobody changes."""
    fill(module_database)
    with module_database.transaction() as connection:
        connection.execute("ANALYZE")
    return module_database


def scan(database: Database, query: CandidateQuery) -> list[tuple[UUID, float | None]]:
    """Ids and similarities, by Python alone."""
    with database.transaction() as connection:
        rows = [flat(row) for row in connection.execute(SCAN)]
    if query.similar_to is not None:
        one = identify(Chem.MolFromSmiles(query.similar_to)).fingerprint
        similar = tanimoto(one, unpack_fingerprints([row["fingerprint"] for row in rows]))
        rows = [{**row, "similarity": float(value)} for row, value in zip(rows, similar, strict=True)]
    rows = [row for row in rows if selected(row, query)]
    key, descending = query.order
    valued = [row for row in rows if row[key] is not None]
    valued.sort(key=lambda row: (row[key], row["candidate_id"]), reverse=descending)
    rest = sorted((row for row in rows if row[key] is None), key=lambda row: (row["created"], row["candidate_id"]))
    return [(row["candidate_id"], row.get("similarity")) for row in [*valued, *rest]][: query.limit]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with values by sort key."""
    said, found = row.pop("said"), row.pop("computed")
    for name in properties.registered():
        row[name], estimate = found.get(name), said.get(name, {})
        row[f"predicted_{name}"], row[f"predicted_{name}_std"] = estimate.get("mean"), estimate.get("std")
    return row


def selected(row: dict[str, Any], query: CandidateQuery) -> bool:
    low, high = WINDOWS[row["campaign"]]
    return (
        query.campaign in (None, row["campaign"])
        and (not query.states or row["state"] in query.states)
        and (not query.hits or (row["gap"] is not None and low - 1e-9 <= row["gap"] <= high + 1e-9))
        and query.in_qm9 in (None, row["in_qm9"])
        and all(inside(row[columns.BY_NAME[name].key], ends) for name, ends in query.ranges.items())
        and (query.smarts is None or matches(Chem.MolFromSmiles(row["smiles"]), query.smarts))
        and (query.similar_to is None or row["similarity"] >= query.min_similarity)
    )


def inside(value: float | None, ends: Range) -> bool:
    return value is not None and (ends.low is None or value >= ends.low) and (ends.high is None or value <= ends.high)


def paged(database: Database, query: CandidateQuery, size: int) -> list[tuple[UUID, float | None]]:
    """The same, page after page."""
    found, cursor = [], None
    while True:
        answer = page(database.transaction, query, size=size, cursor=cursor, seconds=30)
        assert len(answer.rows) <= size
        found += [(row["candidate_id"], row.get("similarity")) for row in answer.rows]
        if (cursor := answer.cursor) is None:
            return found


def questions() -> list[CandidateQuery]:
    """By chance."""
    chance, found = random.Random(7), []
    smarts = ["C=O", "c1ccncc1", "[N+]", "[H]N", "C#N", "S", "[$(C=O)]"]
    for _ in range(60):
        values: dict[str, Any] = {"ranges": {}}
        for name, low, high in (("gap_ev", 3, 8), ("predicted_gap_ev", 3, 8), ("predicted_gap_std_ev", 0, 0.5),
                                ("dipole_debye", 0, 6), ("predicted_homo_ev", -9, -5),
                                ("electronegativity_ev", 1, 6), ("heavy_atoms", 3, 12), ("sa_score", 1, 6)):  # fmt: skip
            if chance.random() < 0.25:
                ends = sorted((chance.uniform(low, high), chance.uniform(low, high)))
                values["ranges"][name] = (
                    {"low": ends[0]} if chance.random() < 0.3 else {"low": ends[0], "high": ends[1]}
                )
        if chance.random() < 0.3:
            values["states"] = tuple(chance.sample(list(CandidateState), 3))
        values["hits"] = chance.random() < 0.1
        values["campaign"] = chance.choice([None, None, FIRST])
        values["in_qm9"] = chance.choice([None, None, None, True])
        values["smarts"] = chance.choice([None, None, *smarts])
        if chance.random() < 0.4:
            values["similar_to"] = chance.choice(molecules()).smiles
            values["min_similarity"] = chance.choice([0.0, 0.2, 0.4, 0.6, 1.0])
        keys = [key for key in columns.SORTABLE if key != "similarity" or "similar_to" in values]
        values["sort"], values["descending"] = chance.choice([None, *keys]), chance.random() < 0.5
        values["limit"] = chance.choice([None, None, 5])
        found.append(CandidateQuery(**values))
    return found


@pytest.mark.parametrize("query", questions(), ids=str)
def test_any_question_is_answered_as_by_a_plain_scan(filled: Database, query: CandidateQuery) -> None:
    expected = scan(filled, query)
    rows = find(filled.transaction, query)
    assert [(row["candidate_id"], row.get("similarity")) for row in rows] == expected
    if query.limit is None:
        assert paged(filled, query, 7) == expected


def test_the_questions_find_something() -> None:
    assert len({query.digest for query in questions()}) > 50


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_pages_of_every_size_hang_together(filled: Database, size: int) -> None:
    query = CandidateQuery(sort="gap", descending=True, states=("labelled", "certified", "failed"))
    expected = scan(filled, query)
    assert len(expected) > 20
    assert paged(filled, query, size) == expected


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("most", [0, 50_000])
def test_a_rare_substructure_is_found_by_keys_and_by_walking(
    filled: Database, monkeypatch: pytest.MonkeyPatch, few: int, most: int
) -> None:
    monkeypatch.setattr(query_search, "WALK", 10)
    monkeypatch.setattr(query_search, "SCREENED", 3)
    monkeypatch.setattr(query_search, "FEW_SCREENED", few)
    monkeypatch.setattr(query_search, "MOST_SCREENED", most)
    for query in (
        CandidateQuery(smarts="[N+]", sort="sa_score"),
        CandidateQuery(smarts="C=O"),
        CandidateQuery(smarts="C#C", sort="gap", states=("labelled", "scored")),
        CandidateQuery(smarts="S"),
    ):
        expected = scan(filled, query)
        assert bool(expected) == (query.smarts != "S")
        assert paged(filled, query, 20) == expected
        assert [row["candidate_id"] for row in find(filled.transaction, query)] == [one for one, _ in expected]


def test_a_search_that_runs_out_of_time_goes_on_where_it_was(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_search, "AT_LEAST", 5)
    query, found, pages, position = CandidateQuery(smarts="C=O"), [], 0, None
    search = query_search.Search(filled.transaction, query, deadline=0.0)  # long past
    while pages == 0 or position is not None:
        more, position = search.take(position, 50)
        assert len(more) <= 5
        found += [one.id for one in more]
        pages += 1
    assert found == [one for one, _ in scan(filled, query)]
    assert pages > 20


def test_keys_are_computed_when_somebody_asks(filled: Database) -> None:
    one = find(filled.transaction, CandidateQuery(smarts="CC", limit=1))[0]
    query = CandidateQuery(smarts="CC", similar_to=one["smiles"], min_similarity=1.0)
    with filled.transaction() as connection:
        expected = [row["candidate_id"] for row in find(held(connection), query)]
        connection.execute("DELETE FROM similarity_keys")
        connection.execute("UPDATE substructure_keys SET keys = NULL")
        assert fingerprints.fill(held(connection)) == MOST
        assert fingerprints.fill(held(connection)) == 0
        assert [row["candidate_id"] for row in find(held(connection), query)] == expected
        assert expected


def test_pages_are_complete_and_stable_while_candidates_are_added(database: Database) -> None:
    fill(database, most=60)
    query = CandidateQuery(sort="predicted_gap")
    before = [found for found, _ in scan(database, query)]
    seen: list[UUID] = []
    cursor = None
    chance = random.Random(3)
    with database.transaction() as connection:
        known = {row["smiles"] for row in connection.execute("SELECT smiles FROM molecules")}
        campaign = campaigns.by_name(connection, FIRST)
        live = models.live(connection, "surrogate")
    assert campaign is not None
    assert live is not None
    for one in [*(one for one in molecules() if one.smiles not in known), None]:
        with database.transaction() as connection:
            answer = page(held(connection), query, size=4, cursor=cursor)
            seen += [row["candidate_id"] for row in answer.rows]
            if (cursor := answer.cursor) is None:
                break
            assert one is not None
            new, _ = candidates.propose(connection, campaign.id, METHANE, one, model_id=live.id, in_qm9=False)
            relaxed = candidates.add_conformer(connection, METHANE, method="gfn2-xtb", molecule_id=None)
            candidates.score(connection, relaxed, prediction(new, chance.uniform(3, 8), chance, False), live.id)
    assert cursor is None
    assert len(set(seen)) == len(seen)
    assert [one for one in seen if one in set(before)] == before


def test_a_rollback_shows_the_predictions_of_the_model_that_is_live_again(database: Database) -> None:
    fill(database, most=30)
    query = CandidateQuery(ranges={"predicted_gap_ev": Range(low=0)}, sort="predicted_gap")
    with database.transaction() as connection:
        newer = connection.execute("SELECT id FROM models WHERE version = 1").fetchone()
        old = models.live(connection, "surrogate")
    assert newer is not None
    assert old is not None
    before = scan(database, query)
    assert paged(database, query, 5) == before
    with database.transaction() as connection:
        models.go_live(connection, "surrogate", newer["id"], None, how="promoted", source="test")
    after = scan(database, query)
    assert after != before
    assert paged(database, query, 5) == after
    with database.transaction() as connection:
        models.go_live(connection, "surrogate", old.id, None, how="rolled back", source="test")
        add_model(connection, 2, "candidate")
    assert paged(database, query, 5) == before


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "bnVsbA", "W10", "WzEsMiwzLDRd", "é", "a" * 900])
def test_what_is_no_cursor_is_refused(filled: Database, cursor: str) -> None:
    with filled.transaction() as connection, pytest.raises(InputError, match="cursor: it is not one"):
        page(held(connection), CandidateQuery(), cursor=cursor)


def test_a_cursor_belongs_to_its_question(filled: Database) -> None:
    with filled.transaction() as connection:
        cursor = page(held(connection), CandidateQuery(sort="gap"), size=3).cursor
        for other in (CandidateQuery(sort="created"), CandidateQuery(sort="gap", campaign=FIRST)):
            with pytest.raises(InputError, match="cursor: it is not one"):
                page(held(connection), other, cursor=cursor)
        same = CandidateQuery(sort="gap", fields=("smiles",), limit=9)
        assert page(held(connection), same, size=3, cursor=cursor).rows


def test_a_question_that_takes_too_long_is_refused_with_advice(filled: Database) -> None:
    with (
        filled.transaction() as connection,
        pytest.raises(InputError, match=r"takes more than 0\.2 s; narrow it"),
        bounded(connection, 0.2),
    ):
        connection.execute("SELECT pg_sleep(5)")
    with filled.transaction() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == {"statement_timeout": "0"}
        assert page(held(connection), CandidateQuery(), seconds=20).rows
