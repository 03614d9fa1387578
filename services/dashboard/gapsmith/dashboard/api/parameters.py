"""The question about candidates as an address writes it; its names are those of the columns."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from gapsmith.core import columns
from gapsmith.core.errors import InputError
from gapsmith.core.patterns import MOST_CHARACTERS
from gapsmith.store.query import CandidateQuery, Range, parse_fields, parse_sort, parse_states
from gapsmith.store.query_model import LEAST_SIMILARITY

PAGE, MOST_PAGE = 50, 1000
Number = Annotated[float | None, Field(allow_inf_nan=False)]
Text = Annotated[str | None, Field(max_length=MOST_CHARACTERS)]


class Parameters(BaseModel):
    """Query parameters of ``/candidates`` but for the ends of ranges. Without ``state`` all but the rejected."""

    model_config = ConfigDict(extra="forbid")

    in_qm9: bool | None = Field(None, description="whether the molecule is in the models' training data")
    campaign: Text = Field(None, description="name of a campaign")
    state: Text = Field(
        None,
        description="one or more, separated by commas; labelled has certified ones, too; hit is labelled inside the "
        "campaign's window; all are all",
    )
    smarts: Text = Field(None, description="substructure", examples=["c1ccncc1"])
    similar_to: Text = Field(None, description="SMILES of a molecule", examples=["CC(=O)C=C"])
    min_similarity: float = Field(LEAST_SIMILARITY, ge=0, le=1, description="least Tanimoto similarity to it")
    sort: Annotated[str | None, Field(max_length=80)] = Field(
        None, description=f"{', '.join(columns.SORTABLE)}; -gap: largest first"
    )
    fields: Annotated[str | None, Field(max_length=1000)] = Field(
        None, description="columns, separated by commas; none: all"
    )
    limit: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description=f"of a page (json): {PAGE} unless told, at most {MOST_PAGE}; of a file: all unless told",
    )
    cursor: Annotated[str | None, Field(max_length=1000)] = Field(None, description="'next' of the page before (json)")
    format: Literal["json", "csv", "sdf", "parquet"] = Field("json", description="a page, or everything as a file")

    def query(self) -> CandidateQuery:
        """The question; raises InputError that names the parameter."""
        states, hits = parse_states(self.state, "state")
        key, descending = parse_sort(self.sort)
        if self.format == "json" and (self.limit or 0) > MOST_PAGE:
            raise InputError(
                f"limit: a page has at most {MOST_PAGE} candidates, not {self.limit}; follow 'next', or take everything as "
                "a file with format=csv"
            )
        if self.format != "json" and self.cursor is not None:
            raise InputError("cursor: a file has no pages; leave it out, or use format=json")
        ranges = {
            one.name: Range.between(getattr(self, f"{one.name}_min"), getattr(self, f"{one.name}_max"), one.name)
            for one in columns.RANGES
        }
        return CandidateQuery.ask(
            ranges={name: ends for name, ends in ranges.items() if ends is not None},
            states=states,
            hits=hits,
            sort=key,
            descending=descending,
            fields=parse_fields(self.fields),
            limit=self.limit,
            **{name: getattr(self, name) for name in ("campaign", "in_qm9", "smarts", "similar_to", "min_similarity")},
        )


_ENDS: Final[dict[str, Any]] = {
    f"{one.name}_{end}": (Number, Field(None, description=f"{one.title}: {one.description}"))
    for one in columns.RANGES
    for end in ("min", "max")
}
if TYPE_CHECKING:
    CandidateParameters = Parameters
else:
    CandidateParameters = create_model("CandidateParameters", __base__=Parameters, **_ENDS)
