"""SQL stands in ``store`` and ``stack`` and nowhere else, and one module changes candidates: read from what is installed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAY = [
    ROOT / "shared/gapsmith/store",
    ROOT / "shared/gapsmith/stack",
]
SOURCES = [
    path
    for folder in (ROOT / "shared", ROOT / "services")
    for path in sorted(folder.rglob("*.py"))
    if not any(path.is_relative_to(place) for place in MAY)
]
CALLS = {"execute", "executemany"}
VERBS = (
    "SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP|TRUNCATE|LISTEN|NOTIFY|SET LOCAL|SET TRANSACTION|COPY"
)
STATEMENT = re.compile(rf"\s*({VERBS})\s")


def faults(tree: ast.AST) -> Iterator[str]:
    """What in a module is SQL."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in CALLS:
                yield f"line {node.lineno}: .{name}(...)"
            case ast.Call(func=ast.Attribute(attr="copy"), args=[ast.Constant(value=str()), *_]):
                yield f"line {node.lineno}: .copy(...) of a text"
            case ast.Constant(value=str() as text) if STATEMENT.match(text):
                yield f"line {node.lineno}: {text.strip()[:40]!r}"
            case ast.Import(names=names) if any(name.name.startswith("psycopg.sql") for name in names):
                yield f"line {node.lineno}: psycopg.sql"
            case ast.ImportFrom(module="psycopg.sql"):
                yield f"line {node.lineno}: psycopg.sql"
            case ast.ImportFrom(module="psycopg", names=names) if any(name.name == "sql" for name in names):
                yield f"line {node.lineno}: psycopg.sql"
            case _:
                pass


@pytest.mark.parametrize(
    "source",
    [
        "connection.execute(query)",
        "cursor.executemany('x', rows)",
        "cursor.copy('COPY t FROM STDIN')",
        "Q = 'SELECT 1'",
        "Q = f'''\n  UPDATE {table} SET a = 1'''",
        "Q = 'WITH a AS (SELECT 1) SELECT * FROM a'",
        "from psycopg import sql",
        "from psycopg.sql import SQL",
        "import psycopg.sql",
    ],
)
def test_sql_is_recognised(source: str) -> None:
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "state.copy()",
        "x = 'Select a molecule'",
        "x = 'update of a model'",
        "with database.transaction(): pass",
        "import psycopg",
    ],
)
def test_what_is_not_sql_is_left_alone(source: str) -> None:
    assert not list(faults(ast.parse(source)))


def test_sql_stands_in_the_store_alone() -> None:
    assert len(SOURCES) > 200
    found = {str(path.relative_to(ROOT)): list(faults(ast.parse(path.read_text()))) for path in SOURCES}
    assert not {path: lines for path, lines in found.items() if lines}


def test_one_module_changes_candidates() -> None:
    changes = re.compile(r"\b(UPDATE|INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE|COPY)\s+(ONLY\s+)?candidates\b")
    files = [
        path
        for folder in (ROOT / "shared/gapsmith", ROOT / "services")
        for kind in ("*.py", "*.sql")
        for path in folder.rglob(kind)
    ]
    changing = {str(path.relative_to(ROOT)) for path in files if changes.search(path.read_text())}
    assert changing == {"shared/gapsmith/store/candidates.py"}
