"""What goes into a calculation and what comes out, as JSON between a worker and its child process."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gapsmith.core.chemistry.geometry import MOST_ATOMS, electron_fault, fault
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
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
    bonds: tuple[tuple[int, int, int], ...] = Field((), description="first atom, second atom, order; empty if unknown")
    formal_charges: tuple[int, ...] = ()

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

    def with_bonds(self, molecule: Molecule) -> Self:
        """The same, with the bonds of a molecule of these atoms."""
        bonds = tuple((int(first), int(second), int(order)) for first, second, order in molecule.bonds)
        return self.model_copy(update={"bonds": bonds, "formal_charges": tuple(map(int, molecule.charges))})

    def molecule(self) -> Molecule:
        """Atoms and bonds, which the geometry tells if nothing else does; raises InvalidMolecule if it does not."""
        from gapsmith.core.chemistry.perception import perceive_bonds

        numbers = np.array(self.numbers, dtype=np.uint8)
        if not self.bonds:
            return perceive_bonds(numbers, self.positions, self.charge)
        charges = np.array(self.formal_charges, dtype=np.int8)
        return Molecule(numbers, self.positions, charges, np.array(self.bonds, dtype=np.int16))

    @property
    def positions(self) -> np.ndarray:
        """(atoms, 3), angstrom."""
        return np.array(self.coordinates_angstrom, dtype=np.float64).reshape(-1, 3)

    def refusal(self) -> str | None:
        """Why no engine can compute it, or None."""
        return self._malformed() or electron_fault(sum(self.numbers), self.charge, self.spin)

    def _malformed(self) -> str | None:
        if not 1 <= len(self.numbers) <= MOST_ATOMS:
            return f"{len(self.numbers)} atoms; between 1 and {MOST_ATOMS} are allowed"
        return fault(np.array(self.numbers), self.positions)

    def check(self) -> None:
        """Refuse what cannot be computed; raises CalculationError (poison)."""
        from gapsmith.dft_queue.engines import find

        engine = find(self.level.engine)
        if reason := self._malformed():
            raise CalculationError(FailureClass.POISON, reason, FailureCode.MOLECULE)
        if reason := electron_fault(sum(self.numbers), self.charge, self.spin):
            raise CalculationError(FailureClass.POISON, reason, FailureCode.SPIN)
        if reason := engine.fault(self.level) or engine.refusal(self):
            raise CalculationError(FailureClass.POISON, reason, FailureCode.LEVEL)


class Excitation(BaseModel):
    """A vertical excitation from the ground state."""

    model_config = ConfigDict(frozen=True)

    energy_ev: float
    wavelength_nm: float
    oscillator_strength: float = Field(description="length gauge")
    multiplicity: int | None = Field(None, description="1, 3; none from an open shell, whose excited states mix")
    method: str = Field("", description="TDDFT or TDA")
    transition: str = Field("", description="the pair of orbitals with the largest weight, such as HOMO-1 -> LUMO")
    weight: float | None = Field(None, description="of that pair, between 0 and 1")
    character: str = Field("", description="from where to where: n, pi or sigma -> pi* or sigma*")


class ComputedConformer(BaseModel):
    """A conformer of an ensemble."""

    model_config = ConfigDict(frozen=True)

    energy_kcal: float = Field(description="above the lowest, kcal/mol, at the level")
    weight: float = Field(description="Boltzmann weight; two mirror images of one conformer count twice")
    values: dict[str, float] = Field(description="of properties, by name, in their units")


class Ensemble(BaseModel):
    """Conformers of a molecule, the lowest first, and what follows from all of them."""

    model_config = ConfigDict(frozen=True)

    embedded: int = Field(description="starting geometries by distance geometry")
    relaxed: int = Field(description="of them, relaxed with GFN2-xTB")
    temperature_k: float
    conformers: tuple[ComputedConformer, ...]
    mean: dict[str, float] = Field(description="Boltzmann means of properties, by name")
    deviation: dict[str, float] = Field(description="standard deviations over the Boltzmann distribution")

    def with_final(self, values: dict[str, float]) -> Self:
        """The same, with the final values of properties where there is one conformer only, which was not computed before."""
        if len(self.conformers) > 1:
            return self
        only = self.conformers[0].model_copy(update={"values": values})
        nothing = dict.fromkeys(values, 0.0)
        return self.model_copy(update={"conformers": (only,), "mean": values, "deviation": nothing})

    def range(self, name: str) -> tuple[float, float]:
        """Least and greatest value of a property."""
        values = [one.values[name] for one in self.conformers if name in one.values]
        return min(values), max(values)


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
    ensemble: Ensemble | None = Field(None, description="conformers, where the level asks for them")
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
