"""An answer that is fetched while it is read."""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gapsmith.client.transport import Transport
from gapsmith.core import columns
from gapsmith.core.errors import UnavailableError

if TYPE_CHECKING:
    import pandas as pd

PAGE: Final = 500  # candidates of a request
SHOWN: Final = 10  # in a notebook


class Search:
    """Candidates of one question, in its order. Iterating asks for page after page; doing so again asks anew.

    Args:
        transport: to the dashboard.
        parameters: of ``/candidates``.
        limit: most candidates; None: all.
    """

    def __init__(self, transport: Transport, parameters: Mapping[str, Any], limit: int | None) -> None:
        self._transport = transport
        self._parameters = dict(parameters)
        self._limit = limit

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Columns by name; raises ApiError, UnavailableError."""
        left, cursor = self._limit, None
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            answer = self._transport.get(
                "/candidates", {**self._parameters, "limit": size, **({"cursor": cursor} if cursor else {})}
            )
            for item in answer["items"]:
                yield _typed(item)
            if (cursor := answer["next"]) is None:
                return
            left = None if left is None else left - len(answer["items"])

    def first(self) -> dict[str, Any] | None:
        """The first candidate; None if there is none."""
        return next(iter(Search(self._transport, self._parameters, 1)), None)

    def to_pandas(self) -> "pd.DataFrame":
        """A table; raises UnavailableError without pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise UnavailableError("pandas is not installed; install it with: pip install pandas") from error
        rows = list(self)
        chosen = self._parameters["fields"].split(",") if "fields" in self._parameters else None
        return pd.DataFrame(rows, columns=chosen)

    def to_sdf(self, path: str | Path) -> Path:
        """Write an SDF with the best geometry of each."""
        return self._save(Path(path), "sdf")

    def to_csv(self, path: str | Path) -> Path:
        """Write a CSV."""
        return self._save(Path(path), "csv")

    def to_parquet(self, path: str | Path) -> Path:
        """Write a Parquet file."""
        return self._save(Path(path), "parquet")

    def _save(self, path: Path, kind: str) -> Path:
        """A file that is there whole or not at all."""
        parameters = {**self._parameters, "format": kind, **({} if self._limit is None else {"limit": self._limit})}
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with self._transport.download("/candidates", parameters) as parts, partial.open("wb") as file:
                file.writelines(parts)
            partial.replace(path)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def __repr__(self) -> str:
        """The question."""
        said = ", ".join(f"{name}={value!r}" for name, value in self._parameters.items())
        return f"Search({said}{'' if self._limit is None else f', limit={self._limit}'})"

    def _repr_html_(self) -> str:
        """The first rows, for notebooks."""
        most = SHOWN + 1 if self._limit is None else min(self._limit, SHOWN + 1)
        rows = list(islice(Search(self._transport, self._parameters, most), most))
        if not rows:
            return "<p>no candidate is like that</p>"
        shown = self._parameters["fields"].split(",") if "fields" in self._parameters else ["smiles", *columns.SHOWN]
        head = "".join(f"<th>{escape(name)}</th>" for name in shown)
        body = "".join(f"<tr>{''.join(f'<td>{_text(row[name])}</td>' for name in shown)}</tr>" for row in rows[:SHOWN])
        more = "<p>…</p>" if len(rows) > SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _typed(item: dict[str, Any]) -> dict[str, Any]:
    return item | {name: datetime.fromisoformat(item[name]) for name in columns.DATES if item.get(name)}


def _text(value: object) -> str:
    return "" if value is None else escape(f"{value:.3f}" if isinstance(value, float) else str(value))
