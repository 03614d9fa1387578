"""How good generated molecules are, in the field's measures, each of which says what it counts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.generator.evaluation.distributions import Distances, Distributions
from gapsmith.generator.evaluation.judging import Judged, judge
from gapsmith.generator.evaluation.plausibility import Plausibility


@dataclass(frozen=True)
class Quality:
    """Shares of all attempts unless a name says otherwise; an attempt without a molecule fails every test.

    Strict validity is by a molecule's own bonds. Stability and connectedness are by distances alone.
    """

    attempts: int
    atom_stability: float  # share of the atoms that have their valence by EDM's length table
    molecule_stability: float  # all atoms of the molecule have
    valid: float  # RDKit: sanitised, one piece, neutral, closed shell
    unique: float  # share of the valid ones that are different molecules, stereoisomers being the same
    valid_and_unique: float
    novel: float  # share of the unique ones that are not in QM9
    connected: float  # one piece
    bonds_agree: float  # share of the valid ones whose own bonds join the same atoms as distances do
    plausibility: Plausibility | None  # PoseBusters
    distances: Distances | None  # of the valid ones' geometries from those of real molecules
    refused: dict[str, int]  # attempts that are not valid, by reason
    shape: Distributions | None = field(default=None, repr=False)  # of the valid ones, where distances were wanted

    def numbers(self) -> dict[str, Any]:
        """All but the distributions, for a JSON file."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.name != "shape"}


def evaluate(
    molecules: Sequence[Molecule],
    attempts: int,
    refused: Counter[str] | None = None,
    *,
    bust: Callable[[Sequence[Molecule], int], Plausibility] | None = None,
    reference: Distributions | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Quality:
    """Measure what came of some attempts.

    Args:
        molecules: with their own bonds; they need not be valid.
        attempts: how many there were, those without a molecule included.
        refused: why attempts gave no molecule. They count as unstable, and their atoms, which nobody knows, as
            unstable ones of as many as the others have on average.
        bust: tests of plausibility, given the molecules and the attempts: ``plausibility.bust``; None leaves them out.
        reference: geometries of real molecules to compare with; None leaves that out.
        on_progress: told how many molecules are judged.

    Raises:
        ValueError: there are fewer attempts than molecules and refusals.
    """
    judged, reasons = judge_all(molecules, attempts, refused, on_progress)
    valid = [one for one in judged if one.valid]
    different = list({one.inchikey: one for one in valid}.values())
    atoms = np.concatenate([one.stable for one in judged] or [np.zeros(0, dtype=bool)])
    shape = (
        Distributions.of(one.mol for one in valid if one.mol is not None) if reference is not None and valid else None
    )
    return Quality(
        attempts=attempts,
        atom_stability=_share(int(atoms.sum()) * len(judged), len(atoms) * attempts),
        molecule_stability=_share(sum(bool(one.stable.all()) for one in judged), attempts),
        valid=_share(len(valid), attempts),
        unique=_share(len(different), len(valid)),
        valid_and_unique=_share(len(different), attempts),
        novel=_share(sum(not one.known for one in different), len(different)),
        connected=_share(sum(one.connected for one in judged), attempts),
        bonds_agree=_share(sum(one.bonds_agree for one in valid), len(valid)),
        plausibility=bust([one.molecule for one in judged], attempts) if bust is not None else None,
        distances=shape.distances(reference) if shape is not None and reference is not None else None,
        refused=dict(reasons.most_common()),
        shape=shape,
    )


def judge_all(
    molecules: Sequence[Molecule],
    attempts: int,
    refused: Counter[str] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Judged], Counter[str]]:
    """All that can be judged, and why the other attempts are not valid; raises ValueError if the counts do not fit."""
    reasons = Counter(refused or {})
    if len(molecules) + reasons.total() > attempts:
        raise ValueError(f"{len(molecules)} molecules and {reasons.total()} refused do not fit in {attempts} attempts")
    judged = []
    for done, molecule in enumerate(molecules, 1):
        try:
            judged.append(judge(molecule))
        except InvalidMolecule as error:
            reasons[error.reason] += 1
        else:
            if judged[-1].reason is not None:
                reasons[judged[-1].reason] += 1
        on_progress(done)
    return judged, reasons


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
