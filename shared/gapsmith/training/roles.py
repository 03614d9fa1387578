"""What the services ask of a model in each role, whatever its architecture."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gapsmith.core import properties
from gapsmith.core.domain import Molecule
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.properties import Estimate

Geometry = tuple[np.ndarray, np.ndarray]  # (atoms,) atomic numbers, (atoms, 3) angstrom
Targets = Mapping[str, float]  # wanted properties by name with unit, e.g. {"gap_ev": 4.0}
Targeted = Targets | Sequence[Targets] | None  # the same for all molecules, one each, or none


@dataclass(frozen=True)
class HeadPrediction:
    """One quantity in the unit that its head declares: (molecules,), or (atoms,) for a quantity of atoms."""

    mean: np.ndarray
    std: np.ndarray  # calibrated on validation data
    low: np.ndarray  # lower end of the 90 % interval, never below what is possible
    high: np.ndarray  # upper end


@dataclass(frozen=True)
class Prediction:
    """Predictions in the order of the molecules."""

    mean_ev: np.ndarray  # (molecules,) float64, the gap; NaN where the model lacks what it must know of a molecule
    std_ev: np.ndarray  # (molecules,) float64, calibrated
    homo_ev: np.ndarray  # (molecules,) float64, NaN without such a head
    distance: np.ndarray  # (molecules,) float64, from the training data in latent space, about one inside
    out_of_distribution: np.ndarray  # (molecules,) bool: unlike the training data, as 1 or 2 % of the validation split
    heads: dict[str, HeadPrediction]  # by name with unit, e.g. gap_ev
    offsets: np.ndarray  # (molecules + 1,): where a molecule's atoms are in quantities of atoms
    of_atoms: tuple[str, ...]  # which of the heads are such quantities
    molecular: dict[str, HeadPrediction]  # heads of whole molecules by quantity, in base units
    members: Mapping[str, np.ndarray] = field(default_factory=dict)  # by such head, (molecules, members) from the mean

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.mean_ev)

    @property
    def there(self) -> np.ndarray:
        """(molecules,) bool: of which molecules there is a prediction."""
        return np.asarray(np.isfinite(self.mean_ev))

    def properties(self) -> list[dict[str, Estimate]]:
        """What follows for the registered properties of each molecule."""
        return [
            properties.predicted(
                {
                    name: Estimate(*(float(part[index]) for part in (head.mean, head.std, head.low, head.high)))
                    for name, head in self.molecular.items()
                }
            )
            for index in range(len(self))
        ]

    def correlations(self) -> list[dict[str, float]]:
        """Of the errors of the registered properties of each molecule, by ``properties.pair``: those of the members.

        What an ensemble's members say of two properties strays from the mean together where the errors do.
        """
        heads = {name: members for name, members in self.members.items() if members.shape[1] > 1}
        found = {
            one.name: sum(weight * heads[name] for name, weight in (one.heads or {one.name: 1.0}).items())
            for one in properties.registered().values()
            if set(one.needs) <= set(heads)
        }
        scaled = {name: part / np.maximum(np.linalg.norm(part, axis=1), 1e-12)[:, None] for name, part in found.items()}
        pairs = {
            properties.pair(one, other): (scaled[one] * scaled[other]).sum(1)
            for one, other in itertools.combinations(scaled, 2)
        }
        return [{name: round(float(of[index]), 3) for name, of in pairs.items()} for index in range(len(self))]


class Surrogate(Protocol):
    """Predicts properties with error bars."""

    domain: ModelDomain

    @property
    def columns(self) -> tuple[str, ...]:
        """What it predicts, names with unit: the keys of ``Prediction.heads``."""
        ...

    def predict(self, geometries: Sequence[Geometry]) -> Prediction:
        """Predict at GFN2-xTB or DFT geometries; one molecule that cannot be predicted does not hinder the others.

        Raises:
            InputError: a molecule lies outside the domain, coordinates are not finite, or atoms coincide.
        """
        ...


@dataclass(frozen=True)
class Planted:
    """A part of a molecule that new molecules are grown around."""

    molecule: Molecule  # with hydrogens and bonds
    kept: np.ndarray  # (heavy atoms,) bool, in the order they have in the molecule
    closed: np.ndarray  # (heavy atoms,) bool: those of the kept ones that take no new neighbour


@dataclass(frozen=True)
class Sampled:
    """What came of a number of attempts."""

    molecules: Sequence[Molecule]  # those that are molecules, hydrogens included
    parents: Sequence[int | None]  # which parent each was grown from
    origins: Sequence[int]  # which attempt each came from
    attempts: int
    refused: Counter[str] = field(default_factory=Counter)  # how many of the others for which reason


class Sampler(Protocol):
    """Makes molecules with wanted properties, from nothing or by growing a part of a molecule again."""

    domain: ModelDomain

    @property
    def conditions(self) -> tuple[str, ...]:
        """The properties that molecules can be asked to have, names with unit."""
        ...

    def sample(
        self,
        n: int,
        targets: Targeted,
        seed: int,
        *,
        heavy_atoms: tuple[int, int] | None = None,
        elements: Sequence[int] | None = None,
        planted: Sequence[Planted] = (),
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Sampled:
        """Try ``n`` new molecules; the same seed gives the same ones.

        Args:
            n: attempts.
            targets: wanted properties.
            seed: of all random choices.
            heavy_atoms: fewest and most; None for all that were learned.
            elements: atomic numbers that new heavy atoms may have; None for all that were learned.
            planted: parts to grow around, in turn; they stay as they are. None: all atoms are new.
            should_stop: asked often; what is finished by then is returned.

        Raises:
            InputError: a size, an element or a property was not learned.
        """
        ...

    def regrow(
        self,
        parents: Sequence[Molecule],
        n: int,
        mask_fraction: float,
        targets: Targeted,
        seed: int,
        *,
        heavy_atoms: tuple[int, int] | None = None,
        elements: Sequence[int] | None = None,
        free: Sequence[np.ndarray] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Sampled:
        """Try ``n`` times, parents in turn, to grow a connected part of ``mask_fraction`` of the heavy atoms again.

        Of each parent only the atoms that ``free`` marks may change, (heavy atoms,) bool; None: all.
        """
        ...
