"""SMILES in lines and tables: .smi, .txt, .csv and .tsv."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.records import Record, from_smiles, with_stated
from gapsmith.core.chemistry.text import Lines
from gapsmith.core.errors import InputError

DELIMITERS: Final = ",;\t|"
SEPARATOR_IS: Final = "sep="  # the first line of tables that spreadsheets write
MOST_LINES: Final = 50  # of one row; a quotation mark that is open for longer was never meant to close
# Names of columns as databases write them, in lower case and without anything but letters; the first that is there counts.
SMILES_NAMES: Final = ("smiles", "isomericsmiles", "isosmiles", "canonicalsmiles", "smi")
NAME_NAMES: Final = (
    "name", "title", "cmpdname", "compoundname", "moleculename", "molname", "preferredname", "prefname", "label",
    "id", "identifier", "compoundid", "moleculeid", "molid", "chemblid", "moleculechemblid", "zincid", "cid", "cas",
)  # fmt: skip


class Row(NamedTuple):
    """A row of a table, or why it is none."""

    line: int
    cells: list[str]
    note: str | None = None
    error: str | None = None


def read_lines(lines: Lines, name: str, smiles_column: str | None, name_column: str | None) -> Iterator[Record]:
    """Records of a .smi or .txt: a SMILES and a name in each line, or a table if the first line is its header."""
    first = _skip_comments(lines)
    if first is None:
        return
    if smiles_column or first.startswith(SEPARATOR_IS) or _is_header(first):
        yield from read_table(lines, name, smiles_column, name_column)
        return
    count = 0
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        count += 1
        smiles, title = _smiles_and_name(line.strip())
        yield from_smiles(smiles, title or f"{count}", f"{name} line {lines.number}")


def read_table(lines: Lines, name: str, smiles_column: str | None, name_column: str | None) -> Iterator[Record]:
    """Records of a table with a header.

    Raises:
        InputError: there is no header, or it does not say which column has the SMILES.
    """
    header = _skip_comments(lines)
    if header is None:
        return
    next(lines)
    if (told := re.fullmatch(f"{SEPARATOR_IS}(.)", header.strip())) and (header := next(lines, None)) is None:
        return
    delimiter = told[1] if told else max(DELIMITERS, key=re.sub('"[^"]*"', "", header).count)
    if delimiter not in header and len(header.split()) > 1:
        delimiter = " "
    columns = _unique(next(csv.reader([header], delimiter=delimiter, skipinitialspace=True)))
    smiles_at = _smiles_column(columns, smiles_column, name)
    name_at = _name_column(columns, name_column, smiles_at, name)
    for count, row in enumerate(_rows(lines, delimiter, columns, smiles_at), 1):
        where = f"{name} line {row.line}"
        fields = dict(zip(columns, row.cells, strict=False))
        title = (fields.get(columns[name_at], "").strip() if name_at is not None else "") or f"{count}"
        smiles = fields.get(columns[smiles_at], "").strip()
        notes = () if row.note is None else (row.note,)
        error = row.error or (None if smiles else f"its cell in column {columns[smiles_at]!r} is empty")
        record = Record(title, where, error=error) if error else from_smiles(smiles, title, where)
        rest = {key: value for at, (key, value) in enumerate(fields.items()) if at not in (smiles_at, name_at)}
        yield with_stated(replace(record, fields=rest, notes=notes + record.notes))


def _skip_comments(lines: Lines) -> str | None:
    while (first := lines.peek()) is not None and first.lstrip().startswith("#"):
        for line in lines:
            if line == first:
                break
    return first


def _is_header(line: str) -> bool:
    words = [_plain(word) for word in re.split(rf"[\s{DELIMITERS}]+", line)]
    return any(word in SMILES_NAMES for word in words) or (
        any("smile" in word for word in words) and not _is_smiles(_smiles_and_name(line)[0])
    )


def _is_smiles(text: str) -> bool:
    with BlockLogs():
        return Chem.MolFromSmiles(text) is not None


def _smiles_and_name(line: str) -> tuple[str, str]:
    """Parts of a line; a CXSMILES extension between bars belongs to the SMILES."""
    match = re.match(r"(?P<smiles>[^\s,;]+(?:\s+\|[^|]*\|)?)[\s,;]*(?P<name>.*)", line)
    return (match["smiles"], match["name"].strip(' "')) if match else (line, "")


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())


def _unique(columns: Sequence[str]) -> list[str]:
    found: list[str] = []
    for column in columns:
        same = sum(one == column.strip() for one in columns[: len(found)])
        found.append(column.strip() + (f"_{same + 1}" if same else ""))
    return found


def _smiles_column(columns: list[str], wanted: str | None, name: str) -> int:
    there = f"its columns: {', '.join(columns)}"
    if wanted is not None:
        return _named(columns, wanted, f"{name} has no column {wanted!r}; {there}")
    plain = [_plain(column) for column in columns]
    if usual := [plain.index(one) for one in SMILES_NAMES if one in plain]:
        return usual[0]
    likely = [index for index, column in enumerate(plain) if "smile" in column]
    if len(likely) == 1:
        return likely[0]
    if likely:
        raise InputError(f"{name} has several columns of SMILES; say which one counts with --smiles-column; {there}")
    bare = next((column for column in columns if len(column) > 1 and _is_smiles(column)), None)
    hint = f"; {bare!r} is a SMILES: put a header above it, or give the file the ending .smi" if bare else ""
    raise InputError(f"{name} has no column of SMILES; name it with --smiles-column{hint}; {there}")


def _name_column(columns: list[str], wanted: str | None, smiles_at: int, name: str) -> int | None:
    if wanted is not None:
        return _named(columns, wanted, f"{name} has no column {wanted!r}; its columns: {', '.join(columns)}")
    plain = [_plain(column) for column in columns]
    return next((plain.index(one) for one in NAME_NAMES if one in plain and plain.index(one) != smiles_at), None)


def _named(columns: list[str], wanted: str, message: str) -> int:
    """Index of a column by its name, by its name in other letters, or by its number."""
    if wanted in columns:
        return columns.index(wanted)
    alike = [index for index, column in enumerate(columns) if _plain(column) == _plain(wanted)]
    if len(alike) == 1:
        return alike[0]
    if wanted.isdecimal() and 1 <= int(wanted) <= len(columns):
        return int(wanted) - 1
    raise InputError(message)


def _rows(lines: Lines, delimiter: str, columns: list[str], smiles_at: int) -> Iterator[Row]:
    """Rows of a table. Text in quotation marks may span lines, but never a line that is a row itself."""
    for line in lines:
        if not line.strip():
            continue
        if delimiter == " ":
            yield Row(lines.number, line.split(None, len(columns) - 1))
            continue
        start = lines.number
        cells, note = _cells([line], delimiter), None
        more: list[str] = []
        if cells is None:
            for other in lines:
                more.append(other)
                if _is_row(other, delimiter, len(columns), smiles_at) or len(more) == MOST_LINES:
                    break
                if (cells := _cells([line, *more], delimiter)) is not None:
                    break
        if cells is None:
            lines.put_back(*more)
            cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
            note = "a quotation mark does not close: the row was read up to the end of its line"
        while len(cells) > len(columns) and not cells[-1].strip():  # spreadsheets end rows so
            cells.pop()
        error = None
        if len(cells) > len(columns):
            error = (
                f"it has {len(cells)} cells, the header {len(columns)}; put text with {delimiter!r} in quotation marks"
            )
        yield Row(start, cells, note, error)


def _cells(lines: list[str], delimiter: str) -> list[str] | None:
    """Cells of a row, or None if a quotation mark is left open or closes within a word."""
    try:
        rows = list(
            csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True, skipinitialspace=True)
        )
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _is_row(line: str, delimiter: str, columns: int, smiles_at: int) -> bool:
    """Whether a line is a row of its own, which an open quotation mark would swallow."""
    cells = _cells([line], delimiter) or [cell.strip('"') for cell in line.split(delimiter)]
    return len(cells) == columns and bool(cells[smiles_at].strip()) and _is_smiles(cells[smiles_at].strip())
