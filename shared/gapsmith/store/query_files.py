"""Answers as files, in pieces: however many candidates there are, only some are in memory at once."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from gapsmith.core import output
from gapsmith.core.columns import BY_NAME
from gapsmith.core.output import plain
from gapsmith.store.database import Connect
from gapsmith.store.query import batches, geometries
from gapsmith.store.query_model import CandidateQuery
from gapsmith.store.query_rows import Found, parameters, records, statement

if TYPE_CHECKING:
    import pyarrow as pa

SDF_BATCH: Final = 200  # geometries in memory at once
Batches = Iterator[list[Found]]


class Export:
    """An answer as a file.

    Args:
        connect: a transaction.
        query: the question.
        kind: of ``KINDS``; raises KeyError for another.
    """

    def __init__(self, connect: Connect, query: CandidateQuery, kind: str) -> None:
        self._connect = connect
        self._query = query
        self._write = KINDS[kind]
        self.count = 0  # candidates so far

    def parts(self) -> Iterator[bytes]:
        """The file, piece by piece; raises InputError before the first one if the question is wrong."""
        return self._write(self._connect, self._query.columns, self._found())

    def _found(self) -> Batches:
        for found in batches(self._connect, self._query):
            self.count += len(found)
            yield found


def separated(connect: Connect, columns: Sequence[str], some: Batches, separator: str = ",") -> Iterator[bytes]:
    """A header and one line per candidate, full precision, empty where there is no value."""
    # Postgres writes the lines: that is several times as fast
    copy = f"COPY ({statement(columns, text=True)}) TO STDOUT (FORMAT csv, DELIMITER '{separator}')"
    header = f"{separator.join(columns)}\n".encode()
    for found in some:
        with connect() as connection, connection.cursor() as cursor, cursor.copy(copy, parameters(found)) as lines:
            part = b"".join([header, *lines])
        yield part
        header = b""
    if header:
        yield header


def tab_separated(connect: Connect, columns: Sequence[str], some: Batches) -> Iterator[bytes]:
    """The same with tabs."""
    return separated(connect, columns, some, "\t")


def as_json(connect: Connect, columns: Sequence[str], some: Batches) -> Iterator[bytes]:
    """A list of objects, one a line."""
    start = "[\n"
    for found in some:
        with connect() as connection:
            lines = [dumps(row) for row in records(connection, found, columns)]
        yield (start + ",\n".join(lines)).encode()
        start = ",\n"
    yield b"[]\n" if start == "[\n" else b"\n]\n"


def dumps(value: Any) -> str:
    """JSON; dates by ISO 8601, ids as text."""
    return json.dumps(value, default=lambda one: str(plain(one)), ensure_ascii=False, separators=(",", ":"))


def parquet(connect: Connect, columns: Sequence[str], some: Batches) -> Iterator[bytes]:
    """Parquet, a row group for some thousand candidates."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink, schema = _Sink(), _schema(columns)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema) as writer:
        for found in some:
            with connect() as connection:
                found_rows = records(connection, found, columns)
            rows = [
                {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}
                for row in found_rows
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _schema(columns: Sequence[str]) -> "pa.Schema":
    import pyarrow as pa

    types = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), datetime: pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, types.get(BY_NAME[name].type, pa.string())) for name in columns])


class _Sink:
    """A file that gives away what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep some bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere."""

    def close(self) -> None:
        """What was written stays to be taken."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def sdf(connect: Connect, columns: Sequence[str], some: Batches) -> Iterator[bytes]:
    """Best geometry of each candidate, properties as tags."""
    needed = list(dict.fromkeys([*columns, "inchikey", "conformer_id"]))
    for found in some:
        for start in range(0, len(found), SDF_BATCH):
            yield _sdf(connect, found[start : start + SDF_BATCH], needed, columns)


def _sdf(connect: Connect, found: Sequence[Found], columns: Sequence[str], tags: Sequence[str]) -> bytes:
    with connect() as connection:
        rows = records(connection, found, columns)
        molecules = geometries(connection, {row["conformer_id"] for row in rows})
    return "".join(
        output.sdf_record(molecules[row["conformer_id"]], row["inchikey"], {name: row[name] for name in tags})
        for row in rows
    ).encode()


KINDS: Final[dict[str, Callable[[Connect, Sequence[str], Batches], Iterator[bytes]]]] = {
    "sdf": sdf,
    "csv": separated,
    "parquet": parquet,
    "json": as_json,
    "tsv": tab_separated,
}
