"""Finds candidates page by page: what follows a position in an order, never counting or sorting all there is."""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from psycopg.rows import tuple_row

from gapsmith.core.columns import BY_NAME, SIMILARITY, SORTABLE
from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.core.lifecycle import CandidateState
from gapsmith.store.database import Connect, Connection
from gapsmith.store.query_cursor import Position
from gapsmith.store.query_model import CandidateQuery
from gapsmith.store.query_rows import Found

if TYPE_CHECKING:
    from gapsmith.core.chemistry.substructure import Substructure
    from gapsmith.store.fingerprints import Similar

WALK: Final = 2000  # candidates of a step along the order, when a substructure is looked for
RARE: Final = 20  # steps that are too many: then those with the right keys are looked up first
SCREENED: Final = 4000  # of these at once
MOST_SCREENED: Final = 50_000  # molecules with the right keys
FEW_SCREENED: Final = 1000  # of them
AT_LEAST: Final = 64  # molecules that are compared with a substructure at each step, however late it is
COMPARING_S: Final = 5.0  # of one call, where there is no deadline
STEPS: Final = (0.7, 0.55, 0.4, 0.3, 0.2, 0.1, 0.0)  # similarities tried one after another for the most similar ones


class Segment(NamedTuple):
    """A part of an order: candidates with a value to sort by, or those without."""

    expression: str
    descending: bool
    condition: str | None


class Source(NamedTuple):
    """Where candidates are taken from, with the values of its SQL."""

    with_: str = ""
    join: str = ""
    condition: str | None = None
    values: Mapping[str, Any] = {}


class Search:
    """One question, ready to be asked page after page.

    Args:
        connect: a transaction; none is open while molecules are compared with a substructure.
        query: the question; its limit is not looked at.
        deadline: by ``time.monotonic``: a page then ends where it is. None: no page ends early.

    Raises:
        InputError: there is no such campaign, the SMARTS or the SMILES is invalid.
    """

    def __init__(self, connect: Connect, query: CandidateQuery, *, deadline: float | None = None) -> None:
        self._connect = connect
        self._query = query
        self._substructure: Substructure | None = None
        self._similar: Similar | None = None
        if query.smarts is not None or query.similar_to is not None:
            self._prepare()
        self._deadline = deadline
        self._conditions, self._values = conditions(query)
        self._values["states"] = [str(state) for state in query.states or CandidateState]
        self._values |= {f"state_{state}": str(state) for state in CandidateState}
        self._possible: dict[Segment, list[str]] = {}
        self._screened: list[Source | None] = []  # once looked up
        if query.campaign is not None:
            with connect() as connection:
                self._values["campaign_id"] = _campaign_id(connection, query.campaign)
        key, descending = query.order
        column = SORTABLE[key]
        expression, nullable = "x.similarity" if key == SIMILARITY else column.sql, column.nullable
        self._segments = [Segment(expression, descending, f"{expression} IS NOT NULL" if nullable else None)]
        if nullable:
            self._segments.append(Segment("c.created_at", False, f"{expression} IS NULL"))

    def _states_with(self, connection: Connection, segment: Segment) -> list[str]:
        """States of which some candidate satisfies each condition by itself; the planner would take them for independent.

        Told to sort by what a condition is about, it uses the index that answers at once.
        """
        if segment not in self._possible:
            alone = list(_ranges(self._query).items())
            if segment.condition is not None:
                alone.append((self._segments[0].expression, segment.condition))
            found = [
                f"(SELECT true FROM candidates c WHERE c.state = s.state AND {condition} ORDER BY {expression} LIMIT 1)"
                for expression, condition in alone
            ]
            rows = connection.execute(
                f"SELECT s.state FROM unnest(%(states)s::text[]) AS s (state) WHERE {' AND '.join(['true', *found])}",
                self._values,
            ).fetchall()
            self._possible[segment] = [f"state_{row['state']}" for row in rows]
        return self._possible[segment]

    def _prepare(self) -> None:
        """RDKit is imported for questions that need it only."""
        from gapsmith.store import fingerprints

        if self._query.smarts is not None:
            from gapsmith.core.chemistry.substructure import Substructure

            self._substructure = Substructure(self._query.smarts)
        if self._query.similar_to is not None:
            self._similar = fingerprints.Similar(self._connect, self._query.similar_to)
        fingerprints.fill(self._connect)

    @property
    def dated(self) -> tuple[bool, bool]:
        """Whether the keys of each segment are dates."""
        return self._segments[0].expression == "c.created_at", True

    def take(self, after: Position | None, size: int) -> tuple[list[Found], Position | None]:
        """The next candidates, at most so many, and where to go on; None if there are no more.

        Fewer than asked for with somewhere to go on means that the deadline has passed.
        """
        position = after or Position(0)
        found: list[Found] = []
        while position.segment < len(self._segments):
            take = self._take if self._substructure is None else self._take_matching
            more, following = take(position, size - len(found))
            found += more
            if following is not None:
                return found, following
            position = Position(position.segment + 1)
        return found, None

    def _take(self, position: Position, size: int) -> tuple[list[Found], Position | None]:
        rows: list[Any] = []
        for least in self._steps(position):
            rows = self._pick(position, size + 1, self._similar_ones(least))
            if len(rows) > size:
                break
        found = [Found(*row[:3]) for row in rows[:size]]
        if len(rows) <= size:
            return found, None
        return found, _after(position, rows[size - 1]) if size else position

    def _take_matching(self, position: Position, size: int) -> tuple[list[Found], Position | None]:
        """Along the order, checking each molecule whose keys allow it; where that finds too few, keys are looked up first."""
        assert self._substructure is not None  # whose question this is
        found: list[Found] = []
        source, count = self._similar_ones(self._query.min_similarity), WALK
        if self._screened and self._screened[0] is not None:
            source, count = self._screened[0], SCREENED
        while len(found) < size:
            rows = self._pick(position, count, source, screen=True)
            matches = self._substructure.matches(
                [row[3] for row in rows if row[3] is not None],
                most=size - len(found),
                least=AT_LEAST,
                seconds=self._left_s,
            )
            hits, looked = sum(matches), iter(matches)
            for row in rows:
                held = False if row[3] is None else next(looked, None)
                if held is None:  # the time of the comparison was over before
                    break
                position = _after(position, row)
                if held:
                    found.append(Found(*row[:3]))
                    if len(found) == size:
                        return found, position
            else:
                held = False
            if held is None:
                if self._deadline is not None:
                    return found, position
                continue
            if len(rows) < count:
                return found, None
            if self._late:
                return found, position
            if source.condition is None and self._similar is None and hits * RARE < size and not self._screened:
                self._screened.append(self._with_keys())
                source, count = self._screened[0] or source, SCREENED if self._screened[0] else WALK
        return found, position

    @property
    def _left_s(self) -> float:
        return COMPARING_S if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    @property
    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _steps(self, position: Position) -> list[float]:
        """Similarities to try until a page is full: the most similar ones are found among few."""
        least = self._query.min_similarity
        if self._similar is None or self._query.order != (SIMILARITY, True):
            return [least]
        return [*(step for step in STEPS if step > least and (position.key is None or step < position.key)), least]

    def _similar_ones(self, least: float) -> Source:
        if self._similar is None:
            return Source()
        from gapsmith.store.fingerprints import ALL_SIMILAR, SIMILAR

        join = "JOIN x ON x.molecule_id = c.molecule_id"
        if (found := self._similar.molecules(least)) is not None:  # so that the planner knows how many they are
            values = {"similar": [one[0] for one in found], "similarities": [one[1] for one in found]}
            pairs = "unnest(%(similar)s::bigint[], %(similarities)s::float8[]) AS x (molecule_id, similarity)"
            return Source(join=f"JOIN {pairs} ON x.molecule_id = c.molecule_id", values=values)
        values = self._similar.parameters(least)
        chosen = ALL_SIMILAR if values["rarest"] is None else SIMILAR
        return Source(f"WITH x AS MATERIALIZED ({chosen})", join, values=values)

    def _with_keys(self) -> Source | None:
        """Candidates whose molecules have the substructure's keys; None if these are too many to be looked up first."""
        assert self._substructure is not None  # whose question this is
        with self._connect() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(
                f"SELECT molecule_id FROM substructure_keys WHERE {_HAS_KEYS} LIMIT {MOST_SCREENED + 1}",
                {"keys": self._substructure.keys},
            ).fetchall()
        if len(rows) > MOST_SCREENED:
            return None
        # Of few molecules the candidates are looked up; of more they are met along the order: + 0 says that no index helps.
        molecule = "c.molecule_id" if len(rows) <= FEW_SCREENED else "(c.molecule_id + 0)"
        values = {"with_keys": [row[0] for row in rows]}
        return Source(condition=f"{molecule} = ANY(%(with_keys)s::bigint[])", values=values)

    def _pick(self, position: Position, size: int, source: Source, *, screen: bool = False) -> list[Any]:
        """Id, key, similarity (and SMILES, if the keys allow the substructure) of the candidates after a position."""
        with self._connect() as connection:
            return self._picked(connection, position, size, source, screen=screen)

    def _picked(
        self, connection: Connection, position: Position, size: int, source: Source, *, screen: bool
    ) -> list[Any]:
        expression, descending, condition = self._segments[position.segment]
        wanted = [*self._conditions, *(one for one in (condition, source.condition) if one is not None)]
        values = {**self._values, **source.values, "most": size}
        direction = "DESC" if descending else "ASC"
        if position.key is not None:
            wanted.append(f"({expression}, c.id) {'<' if descending else '>'} (%(key)s, %(last)s)")
            values |= {"key": position.key, "last": position.id}
        similarity = "x.similarity" if self._similar is not None else "NULL::float8"
        order = f"ORDER BY key {direction}, id {direction} LIMIT %(most)s"
        each = ["ANY(%(states)s)"]
        if not source.join:  # an index for each order begins with the state
            each = [f"%({state})s" for state in self._states_with(connection, self._segments[position.segment])]
        parts = [
            f"""(SELECT c.id, {expression} AS key, {similarity} AS similarity, c.molecule_id
                 FROM candidates c {source.join} WHERE {" AND ".join([*wanted, f"c.state = {state}"])} {order})"""
            for state in each
        ]
        if not parts:
            return []
        statement = parts[0] if len(parts) == 1 else f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS u {order}"
        if screen:
            assert self._substructure is not None  # whose question this is
            values["keys"] = self._substructure.keys
            smiles = "(SELECT m.smiles FROM molecules m WHERE m.id = w.molecule_id)"
            statement = f"""SELECT w.id, w.key, w.similarity, CASE WHEN {_HAS_KEYS} THEN {smiles} END
                FROM ({statement}) w JOIN substructure_keys k ON k.molecule_id = w.molecule_id
                ORDER BY w.key {direction}, w.id {direction}"""
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(f"{source.with_} {statement}", values, prepare=False)  # planned for its values
            return cursor.fetchall()


_HAS_KEYS: Final = "(keys IS NULL OR keys & %(keys)s::bit(640) = %(keys)s::bit(640))"


def _after(position: Position, row: Any) -> Position:
    return Position(position.segment, row[1], row[0])


def conditions(query: CandidateQuery) -> tuple[list[str], dict[str, Any]]:
    """SQL over ``candidates c`` and its values; ``Search`` sees to campaigns, SMARTS and similarity."""
    parts = ["c.molecule_id IS NOT NULL"]
    values: dict[str, Any] = {}
    if query.campaign is not None:
        parts.append("c.campaign_id = %(campaign_id)s")
    if query.hits:
        parts.append("c.violation <= 0")
    parts += _ranges(query).values()
    for name, wanted in query.ranges.items():
        for end, value in (("low", wanted.low), ("high", wanted.high)):
            if value is not None:
                whole = BY_NAME[name].type is int
                values[f"{name}_{end}"] = _whole(value, up=end == "low") if whole else value
    if query.in_qm9 is not None:
        parts.append("EXISTS (SELECT FROM molecules q WHERE q.id = c.molecule_id AND q.in_qm9 = %(in_qm9)s)")
        values["in_qm9"] = query.in_qm9
    return parts, values


def _ranges(query: CandidateQuery) -> dict[str, str]:
    """SQL of each range by itself, by the SQL of its column."""
    found = {}
    for name, wanted in query.ranges.items():
        ends = (("low", ">=", wanted.low), ("high", "<=", wanted.high))
        parts = [f"{BY_NAME[name].sql} {than} %({name}_{end})s" for end, than, value in ends if value is not None]
        found[BY_NAME[name].sql] = " AND ".join(parts)
    return found


def _whole(value: float, *, up: bool) -> int:
    """The end of a range of whole numbers, which an index on such can use."""
    return (math.ceil if up else math.floor)(max(-1e6, min(value, 1e6)))


def _campaign_id(connection: Connection, name: str) -> UUID:
    names: dict[str, UUID] = {
        row["name"]: row["id"] for row in connection.execute("SELECT name, id FROM campaigns ORDER BY created_at")
    }
    if name not in names:
        raise InputError(f"campaign: no campaign is called {name!r}{hint(name, names)}")
    return names[name]
