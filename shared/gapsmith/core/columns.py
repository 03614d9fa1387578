"""The columns of candidates: what can be shown, filtered and sorted by, here and nowhere else.

The query, the API and its client, the options of ``gapsmith query``, the headings and the form of the pages, the indexes and
the tables of docs/api.md are all derived from ``ALL``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gapsmith.core import properties
from gapsmith.core.properties import Property


@dataclass(frozen=True)
class Column:
    """One column of an answer."""

    name: str  # with its unit; unique
    title: str  # for people, without the unit
    type: type
    sql: str  # over c candidates, m molecules, g campaigns, o what a search found
    description: str = ""
    unit: str = ""
    sortable: bool = False
    filterable: bool = False  # by a range
    nullable: bool = True
    shown: bool = False  # in tables for people unless they choose
    covered: bool = False  # in every index, so that filtering along another order looks nothing up
    certifiable: bool = False  # of the certificate where the row has one
    deviation: str = ""  # name of the column that has its standard deviation
    decimals: int = 2  # in tables for people
    short: str = ""  # the key to sort by; the name less the unit unless told

    @property
    def key(self) -> str:
        """What it is called where people type: keys to sort by, and options with dashes."""
        return self.short or self.name.removesuffix(properties.suffix(self.unit))

    @property
    def option(self) -> str:
        """What ``gapsmith query`` calls it."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def numeric(self) -> bool:
        """Whether tables set it to the right."""
        return self.type in (int, float)


def _dft() -> Iterator[Column]:
    for one in properties.registered().values():  # covered, which costs little: few candidates have a label
        hot = one.name == MAIN
        about = f"{one.description}; the certificate's if there is one, else the label's"
        yield Column(
            one.column, f"DFT {one.noun}", float, f"c.dft_{one.column}", about, one.unit,
            sortable=True, filterable=True, shown=hot, covered=True, decimals=3 if hot else 2, certifiable=True,
        )  # fmt: skip


def _over_conformers() -> Iterator[Column]:
    """Of levels that search for conformers."""
    main = properties.registered()[MAIN]
    mean, deviation = (f"mean_{name}{properties.suffix(main.unit)}" for name in (main.name, f"{main.name}_std"))
    yield Column(
        "conformers", "Conformers", int, _ensemble("conformers", "jsonb_array_length({})"),
        "within the window of the level, if that searches for them",
    )  # fmt: skip
    yield Column(
        mean, f"Mean {main.noun}", float, _ensemble(f"mean,{main.name}", "({})::float8"),
        "Boltzmann mean over the conformers", main.unit, deviation=deviation,
    )  # fmt: skip
    yield Column(
        deviation, f"Deviation of the mean {main.noun}", float, _ensemble(f"deviation,{main.name}", "({})::float8"),
        "standard deviation over the Boltzmann distribution", main.unit,
    )  # fmt: skip


def _ensemble(path: str, form: str) -> str:
    """SQL of a part of the ensemble of the calculation whose value counts."""
    found = form.format(f"k.result #> '{{ensemble,{path}}}'")
    counts = "CASE WHEN c.certified_value IS NOT NULL THEN c.certificate_id ELSE c.triage_id END"
    return f"(SELECT {found} FROM calculations k WHERE k.id = {counts} AND k.state = 'done')"


def _predicted() -> Iterator[Column]:
    for one in properties.registered().values():
        hot, (name, deviation) = one.name == MAIN, predicted_names(one)
        yield Column(
            name, f"Predicted {one.noun}", float, f"c.{name}", "the surrogate's mean", one.unit,
            sortable=True, filterable=True, shown=hot, covered=hot, deviation=deviation,
        )  # fmt: skip
        yield Column(
            deviation, f"Deviation of the predicted {one.noun}", float, f"c.{deviation}",
            "the surrogate's standard deviation", one.unit, sortable=True, filterable=True, covered=hot,
        )  # fmt: skip


def predicted_names(one: Property) -> tuple[str, str]:
    """Columns of the mean and the standard deviation of a property's prediction."""
    return f"predicted_{one.column}", f"predicted_{one.name}_std{properties.suffix(one.unit)}"


MAIN: Final = "gap"  # the property that tables show unless somebody chooses
SIMILARITY: Final = "similarity"
ALL: Final = (
    Column("smiles", "SMILES", str, "m.smiles", nullable=False),
    Column("inchikey", "InChIKey", str, "m.inchikey", nullable=False),
    Column("formula", "Formula", str, "m.formula", nullable=False),
    Column("campaign", "Campaign", str, "g.name", nullable=False, shown=True),
    Column("state", "State", str, "c.state", nullable=False, shown=True),
    *_dft(),
    Column(
        "gap_level", "Level", str,
        "CASE WHEN c.certified_value IS NOT NULL THEN 'certificate' WHEN c.label_value IS NOT NULL THEN 'triage' END",
        "triage or certificate: the role of the level of theory of the DFT values", shown=True,
    ),
    *_over_conformers(),
    Column("outcome", "Outcome", str, "c.outcome", "hit_by_label, hit_by_certificate or missed; empty: no hit", shown=True),
    *_predicted(),
    Column(
        "out_of_distribution", "Unlike training data", bool, "c.out_of_distribution", "the surrogate's warning"
    ),
    Column(
        "xtb_gap_ev", "xTB gap", float, "c.xtb_gap_ev", "HOMO-LUMO gap by GFN2-xTB at its geometry", "eV",
        sortable=True, filterable=True,
    ),
    Column(
        "heavy_atoms", "Heavy atoms", int, "c.heavy_atoms", "atoms other than hydrogen",
        sortable=True, filterable=True, nullable=False, shown=True, covered=True,
    ),
    Column(
        "sa_score", "SA score", float, "c.sa_score", "synthetic accessibility: 1 easy to 10 hard",
        sortable=True, filterable=True, nullable=False, shown=True, covered=True, decimals=1,
    ),
    Column("in_qm9", "In QM9", bool, "m.in_qm9", "whether QM9, the models' training data, has the molecule",
           nullable=False, shown=True),
    Column("reason", "Reason", str, "c.reason", "of rejected, failed, withdrawn"),
    Column(
        "level_of_theory", "Level of theory", str,
        """g.levels #>> CASE WHEN c.certified_value IS NOT NULL THEN '{certificate,title}'::text[]
                     WHEN c.label_value IS NOT NULL THEN '{triage,title}'::text[] END""",
        "of the DFT values: method // geometry [name and definition hash]",
    ),
    Column("geometry", "Geometry", str, "c.geometry", "method of the best geometry there is", nullable=False),
    Column("created_at", "Proposed", datetime, "c.created_at", "when the molecule was proposed",
           sortable=True, nullable=False, covered=True, short="created"),
    Column("candidate_id", "Candidate", UUID, "c.id", nullable=False),
    Column("molecule_id", "Molecule", int, "c.molecule_id", nullable=False),
    Column(
        "conformer_id", "Conformer", UUID,
        """coalesce(c.certified_conformer_id, (SELECT k.result_conformer_id FROM calculations k WHERE k.id = c.triage_id
                                               AND k.result ? 'ensemble'), c.relaxed_conformer_id, c.conformer_id)""",
        "of that geometry, or the lowest that the label's level found", nullable=False,
    ),
    Column(SIMILARITY, "Similarity", float, "o.similarity", "Tanimoto, to the molecule asked for",
           sortable=True, nullable=False),
)  # fmt: skip
BY_NAME: Final = {column.name: column for column in ALL}
SORTABLE: Final = {column.key: column for column in ALL if column.sortable}
RANGES: Final = tuple(column for column in ALL if column.filterable)
SHOWN: Final = tuple(column.name for column in ALL if column.shown)
DATES: Final = tuple(column.name for column in ALL if column.type is datetime)
ENDS: Final = tuple(f"{column.name}_{end}" for column in RANGES for end in ("min", "max"))  # parameters of addresses


def text(row: Mapping[str, Any], column: Column) -> str:
    """A value for people, with its standard deviation if the row has one."""
    value, deviation = row[column.name], row.get(column.deviation)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{column.decimals}f}" + ("" if deviation is None else f" ± {deviation:.{column.decimals}f}")
    return "" if value is None else str(value)


def markdown() -> str:
    """The table of docs/api.md."""
    lines = ["| column | meaning | key | range |", "|---|---|---|---|"]
    for one in ALL:
        meaning = f"{one.heading}: {one.description}" if one.description else one.heading
        key = f"`{one.key}`" if one.sortable else ""
        lines.append(f"| `{one.name}` | {meaning} | {key} | {'yes' if one.filterable else ''} |")
    return "\n".join(lines)


if __name__ == "__main__":
    from gapsmith.core.terminal import echo

    echo(markdown())
