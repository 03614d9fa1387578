"""The address of the page of candidates as a question, and back: the same names as the API's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from gapsmith.core.columns import BY_NAME, ENDS, SHOWN, SIMILARITY, Column
from gapsmith.core.errors import InputError
from gapsmith.dashboard.api.parameters import CandidateParameters
from gapsmith.store.query import CandidateQuery

TEXTS: Final = ("campaign", "state", "smarts", "similar_to", "min_similarity", "in_qm9", "sort")
NAMES: Final = (*TEXTS, *ENDS, "fields")
NUMBERS: Final = (*ENDS, "min_similarity")  # in which a comma may stand for the point
NEEDED: Final = (  # that a line is made of, whichever columns are shown
    "candidate_id",
    "molecule_id",
    "smiles",
    "state",
    "reason",
    "level_of_theory",
    "outcome",
    "out_of_distribution",
)


@dataclass(frozen=True)
class Question:
    """What the address says: texts by name, those that say nothing left out."""

    texts: dict[str, str]
    cursor: str | None
    page: int  # for the reader; the cursor decides

    @classmethod
    def of(cls, parameters: QueryParams) -> "Question":
        """Read an address, or what the form of filters sends."""
        texts = {name: text for name in (*TEXTS, *ENDS) if (text := parameters.get(name, "").strip())}
        texts |= {name: text.replace(",", ".") for name, text in texts.items() if name in NUMBERS}
        fields = [name for part in parameters.getlist("fields") for name in part.split(",") if name]
        if fields and tuple(fields) != SHOWN:
            texts["fields"] = ",".join(fields)
        number = parameters.get("page", "1")
        return cls(
            texts, parameters.get("cursor") or None, int(number) if re.fullmatch("[1-9][0-9]{0,8}", number) else 1
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are shown."""
        chosen = tuple(self.texts["fields"].split(",")) if "fields" in self.texts else SHOWN
        return chosen if "similar_to" not in self.texts or SIMILARITY in chosen else (SIMILARITY, *chosen)

    def further(self, prominent: Sequence[Column]) -> bool:
        """Whether something is asked besides these ranges that the form keeps folded away."""
        open_ones = {f"{one.name}_{end}" for one in prominent for end in ("min", "max")}
        return any(name not in open_ones for name in self.texts if name in NUMBERS or name == "in_qm9")

    def query(self) -> CandidateQuery:
        """The question itself, as the API understands the same address; raises InputError that names what is wrong."""
        deviations = [name for one in self.columns if (name := BY_NAME[one].deviation if one in BY_NAME else "")]
        fields = ",".join(dict.fromkeys((*self.columns, *NEEDED, *deviations)))
        try:
            return CandidateParameters.model_validate({**self.texts, "fields": fields}).query()
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            name, given = str(wrong["loc"][-1]), wrong.get("input")
            raise InputError(f"{name}: {wrong['msg'].removeprefix('Value error, ')} (got {given!r})") from error

    def address(self, path: str = "/candidates", **changes: str | None) -> str:
        """The address of this question, with changes; None takes a part away. It begins at the first page again."""
        texts = {**self.texts, **changes}
        said = {name: text for name, text in texts.items() if text is not None}
        return f"{path}?{urlencode(said, quote_via=quote)}" if said else path

    def sorted_by(self, key: str) -> str:
        """The address sorted by something, the other way round if it is already."""
        now = self.texts.get("sort")
        return self.address(sort=f"-{key}" if now == key else key)


def unknown(parameters: QueryParams) -> Sequence[str]:
    """Names in an address that mean nothing here."""
    return [name for name in dict.fromkeys(parameters.keys()) if name not in (*NAMES, "cursor", "page")]
