"""Fills a database with COPY: triggers and indexes of the large tables wait until the rows are there."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.candidates.rows import Row, geometry, identifier, molecules
from gapsmith.core import properties
from gapsmith.core.campaign import parse_campaign
from gapsmith.core.columns import predicted_names
from gapsmith.core.lifecycle import Outcome
from gapsmith.core.properties import Estimate
from gapsmith.data import qm9
from gapsmith.store import campaigns
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection, Database
from gapsmith.training.shipped import shipped_domains

TABLES = ("molecules", "conformers", "candidates", "predictions", "substructure_keys", "similarity_keys")
GENERATED, RELAXED, CALCULATION, CANDIDATE = range(4)  # kinds of ids
START = datetime(2026, 1, 1, tzinfo=UTC)


def load(database: Database, candidates: int, most_molecules: int) -> tuple[int, int]:
    """Fill an empty database; returns how many molecules and candidates it has."""
    rows = list(molecules(most_molecules))
    times = -(-candidates // len(rows))
    with database.transaction() as connection:
        started = [
            campaigns.create(
                connection,
                parse_campaign({"name": f"campaign-{number}", "target": {"value": 3.5 + 0.5 * number}}),
                source="bench",
            )
            for number in range(times)
        ]
        with _bare(connection):
            model = _model(connection)
            _molecules(connection, rows)
            pairs = [(place, campaign) for campaign in range(times) for place in range(len(rows))][:candidates]
            random.Random(1).shuffle(pairs)
            _candidates(connection, rows, started, pairs, model)
    with psycopg.connect(database.url, autocommit=True) as link:
        link.execute("VACUUM ANALYZE")  # as autovacuum does after a while
    return len(rows), len(pairs)


@contextmanager
def _bare(connection: Connection) -> Iterator[None]:
    """Tables without triggers and without indexes that are not needed for keys."""
    found = connection.execute(
        """SELECT i.indexname AS name, i.indexdef AS definition FROM pg_indexes i
           WHERE i.tablename = ANY(%s) AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)""",
        (list(TABLES),),
    ).fetchall()
    for index in found:
        connection.execute(f"DROP INDEX {index['name']}")
    for table in TABLES:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
    for index in found:
        connection.execute(index["definition"])
    for table in TABLES:
        connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _copy(connection: Connection, table: str, columns: str, rows: Iterator[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _model(connection: Connection) -> UUID:
    new = identifier(9, 1)
    connection.execute(
        """INSERT INTO models (id, role, architecture, domain, version, state, path, sha256)
           SELECT %s, 'surrogate', 'equivariant_gnn', %s, 0, 'live', '', ''""",
        (new, Jsonb(shipped_domains()["surrogate"].as_dict())),
    )
    return new


def _molecules(connection: Connection, rows: Sequence[Row]) -> None:
    columns = "inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint"
    _copy(connection, "molecules", columns, (row.molecule for row in rows))  # ids are 1, 2, ...
    keyed = list(enumerate(rows, 1))
    _copy(connection, "substructure_keys", "molecule_id, keys", ((n, row.keys[0]) for n, row in keyed))
    _copy(connection, "similarity_keys", "molecule_id, morgan, bits", ((n, *row.keys[1:]) for n, row in keyed))
    data = qm9.load()
    columns = "id, molecule_id, method, properties, numbers, coordinates_angstrom, bonds, charges"
    for kind, method in ((GENERATED, "generated"), (RELAXED, "gfn2-xtb")):
        _copy(
            connection,
            "conformers",
            columns,
            (
                (identifier(kind, n), n, method, Jsonb({"gap": 0.6 * row.gap_ev}), *geometry(data, row.number))
                for n, row in keyed
            ),
        )


def _candidates(
    connection: Connection,
    rows: Sequence[Row],
    started: Sequence[Campaign],
    pairs: Sequence[tuple[int, int]],
    model: UUID,
) -> None:
    chance, targets = random.Random(2), [one.config.target for one in started]
    fates = [chance.random() for _ in pairs]
    errors = [chance.gauss(0, 1) for _ in pairs]
    deviations = [0.08 + chance.expovariate(10) for _ in pairs]
    labelled = [n for n, fate in enumerate(fates) if fate < 0.1]
    known = [properties.computed(row.result) for row in rows]  # by DFT
    columns = "id, content_hash, level, conformer_id, state, gap_ev, homo_ev, lumo_ev, dipole_debye, properties"
    _copy(
        connection,
        "calculations",
        columns,
        (
            (identifier(CALCULATION, n), str(n), "triage", identifier(RELAXED, pairs[n][0] + 1), "done",
             (row := rows[pairs[n][0]]).gap_ev, row.homo_ev, row.lumo_ev, row.dipole_debye, Jsonb(known[pairs[n][0]]))
            for n in labelled
        ),
    )  # fmt: skip

    def predicted(n: int) -> dict[str, Estimate]:
        std = deviations[n]
        means = {name: value + std * errors[n] for name, value in known[pairs[n][0]].items()}
        return {name: Estimate(mean, std, mean - 1.645 * std, mean + 1.645 * std) for name, mean in means.items()}

    def candidate(n: int) -> Sequence[Any]:
        place, campaign = pairs[n]
        row, fate, of_molecule = rows[place], fates[n], place + 1
        scored, label = fate < 0.85, fate < 0.1
        certified = row.gap_ev + 0.05 * errors[n] if fate < 0.01 else None
        state = "certified" if certified is not None else "labelled" if label else "scored" if scored else "rejected"
        said = predicted(n) if scored else {}
        values = {**known[place], "gap": row.gap_ev if certified is None else certified} if label else {}
        return (
            identifier(CANDIDATE, n), started[campaign].id, of_molecule, identifier(GENERATED, of_molecule),
            identifier(RELAXED, of_molecule) if scored else None, state, "known" if not scored else None,
            identifier(CALCULATION, n) if label else None, row.gap_ev if label else None, certified,
            targets[campaign].violation(values) if label else None,
            Outcome.of(targets[campaign].hit(known[place]), None if certified is None else targets[campaign].hit(values))
            if label else None,
            row.molecule[3], row.molecule[4],
            deviations[n] > 0.4 if scored else None, "gfn2-xtb" if scored else "generated", START + timedelta(seconds=n // 8),
            *(values.get(name) for name in names),
            *(said[name][part] if name in said else None for name in names for part in (0, 1)),
        )  # fmt: skip

    names = properties.registered()
    dft = [f"dft_{one.column}" for one in names.values()]
    means = [column for one in names.values() for column in predicted_names(one)]
    columns = f"""id, campaign_id, molecule_id, conformer_id, relaxed_conformer_id, state, reason, triage_id, label_value,
                  certified_value, violation, outcome, heavy_atoms, sa_score, out_of_distribution, geometry, created_at,
                  {", ".join([*dft, *means])}"""
    _copy(connection, "candidates", columns, (candidate(n) for n in range(len(pairs))))
    judged = (
        (identifier(CANDIDATE, n), model, Jsonb({name: one._asdict() for name, one in predicted(n).items()}),
         deviations[n] > 0.4)
        for n, fate in enumerate(fates) if fate < 0.85
    )  # fmt: skip
    _copy(connection, "predictions", "candidate_id, model_id, properties, out_of_distribution", judged)
