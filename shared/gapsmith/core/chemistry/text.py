"""Text of any file: compression, encoding, and lines that know their numbers."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final

from gapsmith.core.errors import EmptyInput, InputError

_PEEK: Final = 1 << 16  # bytes that the encoding is told from
_GZIP: Final = b"\x1f\x8b"
_MARKS: Final = (  # byte order marks; the longer ones first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _as_latin(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are not UTF-8 as Windows-1252, Latin-1 with quotation marks: it is what old programs write."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("gapsmith-latin", _as_latin)


class Lines:
    """Lines of a text without their ends, which know their numbers and can be put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self._back = iter(lines), list[str]()
        self.number = 0  # of the line that was read last

    def __iter__(self) -> Iterator[str]:
        """Itself."""
        return self

    def __next__(self) -> str:
        """Read the next line."""
        line = self._back.pop() if self._back else next(self._lines).rstrip("\n")
        self.number += 1
        return line

    def put_back(self, *lines: str) -> None:
        """Have lines read again, the first of them first."""
        self._back += reversed(lines)
        self.number -= len(lines)

    def take(self, count: int) -> list[str]:
        """Read that many lines, or as many as there are."""
        return [line for _, line in zip(range(count), self, strict=False)]

    def peek(self) -> str | None:
        """Look at the next line that is not blank, without reading on; None at the end."""
        blank: list[str] = []
        for line in self:
            if line.strip():
                self.put_back(*blank, line)
                return line
            blank.append(line)
        self.put_back(*blank)
        return None


@contextmanager
def opened(source: Path | BinaryIO, name: str) -> Iterator[Lines]:
    """Lines of a file or stream, decompressed and decoded.

    Raises:
        InputError: it does not exist, is a folder, is not text, is empty, or its compressed data is damaged.
    """
    try:
        raw: IO[bytes] = source.open("rb") if isinstance(source, Path) else io.BytesIO(source.read())
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    try:
        buffered: io.BufferedReader = io.BufferedReader(raw, _PEEK)  # type: ignore[arg-type]
        if buffered.peek(2)[:2] == _GZIP:
            buffered = io.BufferedReader(gzip.GzipFile(fileobj=buffered), _PEEK)
        start = buffered.peek(_PEEK)[:_PEEK]
        if not start.strip():
            raise EmptyInput(f"{name} is empty")
        with io.TextIOWrapper(buffered, _encoding(start, name), errors="gapsmith-latin") as text:
            yield Lines(text)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{name}: its compressed data ends early or is damaged ({error}); write the file again"
        ) from error
    except UnicodeError as error:
        raise InputError(f"{name} is not text in a known encoding ({error}); save it as UTF-8") from error
    finally:
        raw.close()


def _encoding(start: bytes, name: str) -> str:
    """How bytes are text; UTF-16 without a mark shows by zeros in every other byte."""
    if marked := next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None):
        return marked
    if b"\0" not in start:
        return "utf-8"
    even, odd = (start[first::2].count(0) / max(1, len(start[first::2])) for first in (0, 1))
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    if even > 0.4 and odd < 0.1:
        return "utf-16-be"
    raise InputError(f"{name} is not a text file: it holds zero bytes; give molecules as text, or compressed with gzip")
