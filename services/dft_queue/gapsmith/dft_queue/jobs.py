"""What goes into a calculation and what comes out, as JSON between a worker and its child process."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gapsmith.core.chemistry.geometry import MOST_ATOMS, electron_fault, fault
from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import GENERATED, LevelOfTheory

Position = tuple[float, float, float]


class CalculationInput(BaseModel):
    """A molecule and what to compute."""

    model_config = ConfigDict(frozen=True)

    numbers: tuple[int, ...] = Field(description="atomic numbers")
    coordinates_angstrom: tuple[Position, ...]
    level: LevelOfTheory
    charge: int = 0
    spin: int = Field(0, description="unpaired electrons")
    geometry_method: str = Field(GENERATED, description="what the geometry is a minimum of")

    @classmethod
    def of(
        cls,
        numbers: np.ndarray,
        coordinates: np.ndarray,
        level: LevelOfTheory,
        charge: int = 0,
        spin: int = 0,
        geometry_method: str = GENERATED,
    ) -> Self:
        """From arrays: (atoms,) atomic numbers and (atoms, 3) angstrom."""
        rows = tuple((float(x), float(y), float(z)) for x, y, z in np.asarray(coordinates))
        return cls(
            numbers=tuple(int(number) for number in numbers),
            coordinates_angstrom=rows,
            level=level,
            charge=charge,
            spin=spin,
            geometry_method=geometry_method,
        )

    @property
    def positions(self) -> np.ndarray:
        """(atoms, 3), angstrom."""
        return np.array(self.coordinates_angstrom, dtype=np.float64).reshape(-1, 3)

    def refusal(self) -> str | None:
        """Why no engine can compute it, or None."""
        if not 1 <= len(self.numbers) <= MOST_ATOMS:
            return f"{len(self.numbers)} atoms; between 1 and {MOST_ATOMS} are allowed"
        if reason := fault(np.array(self.numbers), self.positions):
            return reason
        return electron_fault(sum(self.numbers), self.charge, self.spin)

    def check(self) -> None:
        """Refuse what cannot be computed; raises CalculationError (poison)."""
        from gapsmith.dft_queue.engines import find

        engine = find(self.level.engine)
        if reason := self.refusal() or engine.fault(self.level) or engine.refusal(self):
            raise CalculationError(FailureClass.POISON, reason)


class Excitation(BaseModel):
    """A vertical excitation."""

    model_config = ConfigDict(frozen=True)

    energy_ev: float
    wavelength_nm: float
    oscillator_strength: float


class CalculationOutput(BaseModel):
    """What a calculation found. None stands for what its engine or level does not give."""

    model_config = ConfigDict(frozen=True)

    energy_hartree: float
    gap_ev: float | None = None
    homo_ev: float | None = None
    lumo_ev: float | None = None
    dipole_debye: float | None = None
    mulliken_e: tuple[float, ...] | None = Field(None, description="elementary charges, in the order of the atoms")
    polarizability_bohr3: tuple[Position, ...] | None = Field(None, description="static, (3, 3)")
    s_squared: float | None = Field(None, description="expectation value of S^2, of the Kohn-Sham determinant")
    lowest_wavenumber_cm1: float | None = Field(
        None,
        description="of the vibrations at the final geometry, by GFN2-xTB's second derivatives or, if asked for, the level's",
    )
    wavenumbers_cm1: tuple[float, ...] | None = Field(None, description="harmonic; imaginary ones negative")
    ir_intensities_km_mol: tuple[float, ...] | None = None
    zero_point_energy_hartree: float | None = None
    excitations: tuple[Excitation, ...] | None = None
    coordinates_angstrom: tuple[Position, ...] | None = Field(None, description="after relaxation, if there was one")
    relaxation_steps: int = Field(0, description="gradients of the level's own relaxation")
    rung: str | None = Field(None, description="of the SCF ladder that converged the final single point")
    rearranged: str | None = Field(None, description="bonds that broke or formed in the relaxation, in words")
    confirmed_by: str | None = Field(
        None, description="the other route that came to the same gap, where the first surprised"
    )
    findings: tuple[str, ...] = Field((), description="what a person should know of the result")
    files: tuple[str, ...] = Field((), description="names of files that were written beside it")
    wall_s: float = 0.0
    cpu_s: float = 0.0
    host: str = ""
    software: dict[str, str] = Field(default_factory=dict, description="versions")
