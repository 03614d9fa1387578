"""Candidates as files: SDF with the best geometry, CSV, Parquet, JSON; whole or not at all."""

from pathlib import Path

from gapsmith.core import output
from gapsmith.core.errors import UnavailableError
from gapsmith.store.database import Connection, held
from gapsmith.store.query import CandidateQuery
from gapsmith.store.query_files import Export
from gapsmith.training.files import replacing

ENDINGS = (".sdf", ".csv", ".parquet", ".json")


def check_output(path: Path) -> None:
    """Raise InputError if no file of this name can be written."""
    output.check_output(path, ENDINGS)


def write(path: Path, connection: Connection, query: CandidateQuery) -> int:
    """Write what a query selects in the format of the file's ending; an existing file is replaced by a whole one only.

    Args:
        path: ends in .sdf, .csv, .parquet or .json.
        connection: in a transaction.
        query: the question.

    Returns:
        How many candidates it selects.

    Raises:
        InputError: unknown ending, no such folder, or the question is wrong.
        UnavailableError: the file cannot be written, for example on a full disk.
    """
    check_output(path)
    try:
        with replacing(path) as partial, partial.open("wb") as stream:
            export = Export(held(connection), query, path.suffix.lower().removeprefix("."))
            for part in export.parts():
                stream.write(part)
        return export.count
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error
