"""Files that are there whole or not at all, and their digests. Needs no torch, so that services may use it."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card_path(weights: Path) -> Path:
    """Where the card of a weights file lies: the same name, ending ``.json``."""
    return weights.with_suffix(".json")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; afterwards flushed to disk and renamed to ``path``, or removed on an exception.

    Raises:
        OSError: of the block or of the renaming; it names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself
        finally:
            os.close(folder)
    except OSError as error:
        if error.filename in (None, str(partial)):  # writing does not name the file
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write, flush to disk, rename."""
    with replacing(path) as partial:
        partial.write_bytes(data)
