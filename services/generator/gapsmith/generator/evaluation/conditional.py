"""How well generated molecules have the gap that was asked for, by EDM's protocol.

Hoogeboom et al., ICML 2022: the generator learned from one half of QM9; wanted gaps are those of molecules of that
half; a property network that learned from the other half scores every molecule that comes, at its raw geometry.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError
from gapsmith.generator.evaluation import real
from gapsmith.training.checkpoint import load_weights, read_card
from gapsmith.training.protocol import LabelledGeometry, Trainable, trainable

DEFAULT_EVALUATOR = Path(__file__).parents[1] / "weights" / "evaluator-0.safetensors"


class Evaluator:
    """A property network that judges gaps; it knows nothing of the generator."""

    def __init__(self, trainable: Trainable, model: nn.Module, card: dict[str, Any]) -> None:
        self.trainable, self.model, self.card = trainable, model.eval(), card

    @classmethod
    def load(cls, weights: Path = DEFAULT_EVALUATOR, *, device: str = "cpu") -> "Evaluator":
        """Load checked weights of a surrogate; raises CheckpointError."""
        card = read_card(weights, role="surrogate")
        architecture = trainable(card["architecture"])
        model = architecture.build(card["config"])
        load_weights(model, weights)
        return cls(architecture, model.to(device), card)

    @property
    def independent(self) -> bool:
        """Whether its card says that it learned from the half of QM9 that the generator does not see."""
        learned = self.card.get("sources", [])
        return bool(learned) and all((one["name"], one["split"]) == ("qm9", "first") for one in learned)

    def gap_ev(self, molecule: Molecule) -> float:
        """The gap of a molecule at its geometry; raises InputError if the network cannot take it."""
        numbers, coordinates = np.asarray(molecule.numbers), molecule.coordinates.astype(np.float32)
        unlabelled = LabelledGeometry(numbers, coordinates, {"gap_ev": 0.0})  # the error against 0 is the gap itself
        return self.trainable.evaluate_labels(self.model, [unlabelled])["gap_mae_ev"]


@dataclass(frozen=True)
class Conditional:
    """Mean absolute errors of the gap in eV, of molecules for which a gap was asked."""

    targets: int
    scored: int  # molecules that came and were scored, all of them, whatever they are worth
    failed: dict[str, int]  # attempts without a score, by reason
    mae_ev: float  # of those scored
    mae_standard_error_ev: float
    mae_failures_random_ev: float  # with a failed attempt counted as a molecule for another target
    floor_ev: float  # of the evaluator on the real molecules whose gaps were asked for
    random_ev: float  # of the same real molecules for each other's gaps
    size_only_ev: float  # of guessing the gap from the number of atoms: the median of the other half
    evaluator_independent: bool  # its card says that it learned from the other half


@dataclass(frozen=True)
class Scores:
    """One by one, for a picture."""

    wanted_ev: np.ndarray  # (scored,)
    gap_ev: np.ndarray  # (scored,)


def targets(count: int, seed: int) -> np.ndarray:
    """Molecules of the generator's half whose gaps are asked for, (count,) indices of QM9."""
    half = real.split()["second"]
    return np.asarray(np.random.default_rng((seed, 3)).choice(half, count, replace=count > len(half)))


def score(
    evaluator: Evaluator,
    asked: np.ndarray,
    molecules: Sequence[Molecule],
    origins: Sequence[int],
    refused: Counter[str],
    *,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[Conditional, Scores]:
    """Score what came of asking for some gaps.

    Args:
        evaluator: the property network.
        asked: of ``targets``.
        molecules: what came.
        origins: for which of the targets each came.
        refused: why there is nothing for the other targets.
        seed: of the order in which real molecules get each other's gaps.
        on_progress: told how many molecules were scored, generated and real ones.
    """
    gaps = real.data().properties["gap_ev"]
    wanted = gaps[asked]
    failed = Counter(refused)
    kept, found = [], []
    for number, (molecule, origin) in enumerate(zip(molecules, origins, strict=True), 1):
        try:
            found.append(evaluator.gap_ev(molecule))
            kept.append(origin)
        except InputError:
            failed["evaluator"] += 1
        on_progress(number)
    scores = Scores(wanted[np.array(kept, dtype=np.int64)], np.array(found))
    error = np.abs(scores.gap_ev - scores.wanted_ev)
    known = []
    for number, index in enumerate(asked, 1):
        known.append(evaluator.gap_ev(real.molecule(int(index))))
        on_progress(len(molecules) + number)
    mixed = np.random.default_rng((seed, 4)).permutation(wanted)
    random_ev = _mean(np.abs(np.array(known) - mixed))
    lost = len(asked) - len(kept)
    return Conditional(
        targets=len(asked),
        scored=len(kept),
        failed=dict(failed.most_common()),
        mae_ev=_mean(error),
        mae_standard_error_ev=round(float(error.std() / max(1, len(error)) ** 0.5), 4) if len(error) else float("nan"),
        mae_failures_random_ev=round((float(error.sum()) + lost * random_ev) / len(asked), 4),
        floor_ev=_mean(np.abs(np.array(known) - wanted)),
        random_ev=random_ev,
        size_only_ev=_mean(np.abs(_by_size(gaps)[_sizes()[asked]] - wanted)),
        evaluator_independent=evaluator.independent,
    ), scores


def _sizes() -> np.ndarray:
    return np.asarray(np.diff(real.data().offsets))


def _by_size(gaps: np.ndarray) -> np.ndarray:
    """Median gap of the other half by number of atoms; of all sizes where that size is missing."""
    half, sizes = real.split()["first"], _sizes()
    medians = np.full(sizes.max() + 1, np.median(gaps[half]))
    for size in np.unique(sizes[half]):
        medians[size] = np.median(gaps[half][sizes[half] == size])
    return medians


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if len(values) else float("nan")
