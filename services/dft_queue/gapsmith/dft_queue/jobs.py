"""What goes into a calculation and what comes out, as JSON between a worker and its child process."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.dft_queue.levels import find

MOST_ATOMS = 60  # far beyond nine heavy atoms with their hydrogens
CLOSEST_ANGSTROM = 0.5  # the shortest bond, H-H, has 0.74
ELEMENTS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}  # that the basis set is defined for


@dataclass(frozen=True)
class CalculationInput:
    """A molecule and what to compute."""

    numbers: tuple[int, ...]  # atomic numbers
    coordinates_angstrom: tuple[tuple[float, float, float], ...]
    level: str
    charge: int = 0
    spin: int = 0  # unpaired electrons

    @classmethod
    def of(cls, numbers: np.ndarray, coordinates: np.ndarray, level: str, charge: int = 0, spin: int = 0) -> Self:
        """From arrays: (atoms,) atomic numbers and (atoms, 3) angstrom."""
        rows = tuple((float(x), float(y), float(z)) for x, y, z in np.asarray(coordinates))
        return cls(tuple(int(number) for number in numbers), rows, level, charge, spin)

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From JSON that ``to_json`` wrote."""
        raw = json.loads(text)
        raw["numbers"] = tuple(raw["numbers"])
        raw["coordinates_angstrom"] = tuple(tuple(row) for row in raw["coordinates_angstrom"])
        return cls(**raw)

    def check(self) -> None:
        """Refuse what no calculation can be made of; raises CalculationError (poison), InputError for an unknown level."""
        find(self.level)
        if reason := self._fault():
            raise CalculationError(FailureClass.POISON, reason)

    def _fault(self) -> str | None:
        positions = np.array(self.coordinates_angstrom, dtype=np.float64)
        if not 1 <= len(self.numbers) <= MOST_ATOMS:
            return f"{len(self.numbers)} atoms; between 1 and {MOST_ATOMS} are allowed"
        if positions.shape != (len(self.numbers), 3) or not np.isfinite(positions).all():
            return f"coordinates must be {len(self.numbers)} rows of three finite numbers"
        if unknown := sorted(set(self.numbers) - set(ELEMENTS)):
            return f"no basis functions for atomic number {unknown[0]}; known elements: {' '.join(ELEMENTS.values())}"
        electrons = sum(self.numbers) - self.charge
        if electrons < 1 or self.spin < 0 or self.spin > electrons or (electrons - self.spin) % 2:
            return (
                f"{electrons} electrons cannot have {self.spin} unpaired (charge {self.charge}): "
                "an odd number of electrons needs an odd spin, an even number an even one"
            )
        distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 1e3 * np.eye(len(positions))
        first, second = np.unravel_index(int(distances.argmin()), distances.shape)
        if distances[first, second] < CLOSEST_ANGSTROM:
            return (
                f"atoms {first + 1} and {second + 1} are {distances[first, second]:.3f} angstrom apart; "
                f"at least {CLOSEST_ANGSTROM} is needed"
            )
        return None


@dataclass(frozen=True)
class CalculationOutput:
    """What a calculation found."""

    gap_ev: float
    homo_ev: float
    lumo_ev: float
    energy_hartree: float
    dipole_debye: float
    mulliken_e: tuple[float, ...]  # elementary charges, in the order of the atoms
    rung: str  # of the SCF ladder that converged the final single point
    wall_s: float
    cpu_s: float
    coordinates_angstrom: tuple[tuple[float, float, float], ...] | None = None  # after relaxation, if there was one
    relaxation_steps: int = 0
    software: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """From what ``to_dict`` gave, after JSON."""
        rows = raw["coordinates_angstrom"]
        positions = None if rows is None else tuple(tuple(row) for row in rows)
        return cls(**{**raw, "mulliken_e": tuple(raw["mulliken_e"]), "coordinates_angstrom": positions})
