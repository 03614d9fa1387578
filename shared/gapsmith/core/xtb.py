"""GFN2-xTB relaxation (Bannwarth, Ehlert, Grimme, JCTC 2019) with tblite.

The optimiser is BFGS in Cartesian coordinates from a model Hessian, each step inside a trust radius. A molecule of
QM9's size takes some ten to thirty gradients of about 10 ms, and as many again to prove that it arrived at a minimum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from tblite.exceptions import TBLiteRuntimeError, TBLiteTypeError, TBLiteValueError
from tblite.interface import Calculator, Result

from gapsmith.core.chemistry.elements import bond_lengths_angstrom
from gapsmith.core.chemistry.geometry import APART, distances, fault, pieces
from gapsmith.core.chemistry.model_hessian import model_hessian
from gapsmith.core.errors import CalculationError, FailureClass, FailureCode
from gapsmith.core.lowest_mode import Mode, lowest_mode
from gapsmith.core.units import AU_TO_DEBYE, BOHR_TO_ANGSTROM, HARTREE_TO_EV

METHOD: Final = "GFN2-xTB"
MAX_STEPS = 150  # gradients
GRADIENT_TOLERANCE = 5e-4  # hartree / bohr, largest component
MOST_DESCENTS = 4  # from saddle points
SOFT_TOLERANCE = 0.2  # of the gradient's, after a descent: along a soft mode the gradient is small far from the minimum
DESCENT_ANGSTROM = 0.15  # along a falling mode, largest displacement of an atom
SYMMETRY_BREAK_ANGSTROM, SYMMETRY_BREAK_SEED = 0.01, 7  # standard deviation of the displacements
FIRST_TRUST, LEAST_TRUST, MOST_TRUST = 0.3, 0.02, 0.6  # bohr, largest displacement of an atom


@dataclass(frozen=True)
class Relaxed:
    """A relaxed molecule."""

    coordinates: np.ndarray  # (atoms, 3) float64, angstrom
    energy_hartree: float
    gap_ev: float  # GFN2-xTB's own orbital gap
    result: Mapping[str, float | None]  # of GFN2-xTB there: what properties follow from
    steps: int  # gradients computed
    lowest_wavenumber_cm1: float | None  # of the vibrations; None: an atom has none
    rmsd_angstrom: float  # from the geometry given, after superposition


def relax(
    numbers: np.ndarray,
    coordinates: np.ndarray,
    *,
    charge: int = 0,
    spin: int = 0,
    spin_polarised: bool = False,
    solvent: tuple[str, str] | None = None,
    max_steps: int = MAX_STEPS,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
) -> Relaxed:
    """Relax a molecule to a minimum.

    The start is displaced a little off every symmetry, and the lowest mode at the end is looked at: a molecule that was drawn
    flat or linear goes on to where it is a minimum.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom; rough ones will do.
        charge: in elementary charges.
        spin: unpaired electrons.
        spin_polarised: with exchange between like spins, so that states of different spin can be compared.
        solvent: model (alpb or cpcm) and name, as tblite has them.
        max_steps: gradients before giving up.
        gradient_tolerance: hartree / bohr, of the largest component.

    Raises:
        CalculationError: of class chemistry, with the reason: broken input, impossible spin, no SCF convergence, the
            molecule falls apart, no convergence of the geometry, saddle points one after the other.
    """
    numbers, start = np.asarray(numbers, dtype=np.int64), np.asarray(coordinates, dtype=np.float64)
    if reason := fault(numbers, start):
        raise _failed(reason, FailureCode.MOLECULE)
    if (int(numbers.sum()) - charge - spin) % 2:
        raise _failed(f"{int(numbers.sum()) - charge} electrons cannot have {spin} unpaired", FailureCode.SPIN)
    evaluate = Evaluator(
        numbers, start / BOHR_TO_ANGSTROM, charge, spin, spin_polarised=spin_polarised, solvent=solvent
    )
    reach = APART * bond_lengths_angstrom(numbers) / BOHR_TO_ANGSTROM
    whole, _ = pieces(distances(start / BOHR_TO_ANGSTROM) < reach)

    def check(positions: np.ndarray) -> None:
        found, _ = pieces(distances(positions) < reach)
        if found > whole:
            raise _failed(f"the molecule falls apart into {found} fragments after {evaluate.calls} steps")

    positions = start / BOHR_TO_ANGSTROM
    _, slope = evaluate(positions)
    if np.abs(slope).max() >= gradient_tolerance:
        positions = off_symmetry(start) / BOHR_TO_ANGSTROM
    for attempt in range(1 + MOST_DESCENTS):
        tolerance = gradient_tolerance * (SOFT_TOLERANCE if attempt else 1.0)
        positions = minimise(
            evaluate, positions, model_hessian(numbers, positions), check=check, max_steps=max_steps, tolerance=tolerance
        )  # fmt: skip
        (energy, gap), values = evaluate.last, evaluate.values()
        mode = lowest_mode(numbers, positions, evaluate.precise_gradient)
        if mode is None or not mode.falling:
            relaxed = positions * BOHR_TO_ANGSTROM
            lowest = None if mode is None else mode.wavenumber_cm1
            return Relaxed(relaxed, energy, gap, values, evaluate.calls, lowest, rmsd(start, relaxed))
        positions = downhill(positions, mode, lambda moved: evaluate(moved)[0])
    raise _failed(
        f"the relaxation ends at saddle points, {1 + MOST_DESCENTS} times one after the other", FailureCode.SADDLE
    )


def off_symmetry(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates (atoms, 3) in angstrom with small displacements, always the same, that leave no symmetry."""
    draw = np.random.default_rng(SYMMETRY_BREAK_SEED)
    return np.asarray(coordinates + draw.normal(0, SYMMETRY_BREAK_ANGSTROM, np.shape(coordinates)))


def downhill(positions: np.ndarray, mode: Mode, energy: Callable[[np.ndarray], float]) -> np.ndarray:
    """Positions (atoms, 3) in bohr along a falling mode, on the side where the energy falls more, as far as it falls."""
    step = DESCENT_ANGSTROM / BOHR_TO_ANGSTROM * mode.direction
    (lowest, best), (_, _) = sorted((energy(positions + way * step), way) for way in (1, -1))
    for further in (2 * best, 4 * best):
        if (found := energy(positions + further * step)) >= lowest:
            break
        lowest, best = found, further
    return positions + best * step


class Evaluator:
    """Energy and gradient by tblite, each from the density of the one before; positions (n, 3) in bohr."""

    def __init__(
        self,
        numbers: np.ndarray,
        positions: np.ndarray,
        charge: int = 0,
        spin: int = 0,
        *,
        orbitals: bool = False,
        spin_polarised: bool = False,
        solvent: tuple[str, str] | None = None,
    ) -> None:
        self.spin = spin
        self.calls = 0
        self.last = (np.nan, np.nan)  # energy in hartree and gap in eV of the newest point
        self.result: Result | None = None
        try:
            self._calculator = Calculator(METHOD, numbers, positions, charge=float(charge), uhf=spin)
            self._calculator.set("verbosity", 0)
            if orbitals:  # the overlap matrix is kept, for populations of orbitals
                self._calculator.set("save-integrals", 1)
            if solvent is not None:
                model, name = solvent
                self._calculator.add(*(("alpb-solvation", name) if model == "alpb" else ("ddX-solvation", name, model)))
            if spin_polarised:
                self._calculator.add("spin-polarization", 1.0)
        except (TBLiteRuntimeError, TBLiteTypeError, TBLiteValueError) as error:
            raise _failed(f"GFN2-xTB refuses the molecule: {error}", FailureCode.LEVEL) from error

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (n, 3) (hartree / bohr); raises CalculationError if the SCF fails."""
        self.calls += 1
        try:
            self._calculator.update(positions=positions)
            try:
                result = self._calculator.singlepoint(self.result)
            except TBLiteRuntimeError:
                if self.result is None:
                    raise
                result = self._calculator.singlepoint()  # the old density may be what hindered it
        except TBLiteRuntimeError as error:
            raise _failed(f"GFN2-xTB's SCF fails at step {self.calls}: {error}", FailureCode.SCF) from error
        self.result = result
        energy, gradient = float(result.get("energy")), np.asarray(result.get("gradient"))
        if not (np.isfinite(energy) and np.isfinite(gradient).all()):
            raise _failed(f"GFN2-xTB's energy is not finite at step {self.calls}", FailureCode.SCF)
        homo, lumo = self.frontier_ev()
        self.last = (energy, lumo - homo)
        return energy, gradient

    def precise_gradient(self, positions: np.ndarray) -> np.ndarray:
        """Gradient (n, 3) that differences can be taken of; this point and later ones are converged further."""
        self._calculator.set("accuracy", 0.1)
        return self(positions)[1]

    def atom_of_functions(self) -> np.ndarray:
        """The atom on which each basis function sits, (functions,) int64."""
        atoms = np.asarray(self._calculator.get("shell-map"), dtype=np.int64)
        return np.asarray(atoms[np.asarray(self._calculator.get("orbital-map"))])

    def frontier_ev(self) -> tuple[float, float]:
        """Energies of the highest occupied and the lowest empty orbital at the newest point."""
        assert self.result is not None  # a point was computed
        levels = np.atleast_2d(self.result.get("orbital-energies"))  # (1 or 2 spins, orbitals)
        electrons = round(float(np.sum(self.result.get("orbital-occupations"))))
        filled = ((electrons + self.spin) // 2, (electrons - self.spin) // 2)[: len(levels)]
        homo = max(row[count - 1] for row, count in zip(levels, filled, strict=True) if count)
        # A hydrogen molecule's minimal basis has one empty orbital, helium's none.
        lumo = min((row[count] for row, count in zip(levels, filled, strict=True) if count < len(row)), default=np.nan)
        return float(homo) * HARTREE_TO_EV, float(lumo) * HARTREE_TO_EV

    def values(self) -> dict[str, float | None]:
        """Frontier orbitals and dipole moment at the newest point, named as in an engine's result."""
        assert self.result is not None  # a point was computed
        homo, lumo = self.frontier_ev()
        known = bool(np.isfinite(lumo))
        dipole = float(np.linalg.norm(self.result.get("dipole"))) * AU_TO_DEBYE
        return {
            "homo_ev": homo,
            "lumo_ev": lumo if known else None,
            "gap_ev": lumo - homo if known else None,
            "dipole_debye": dipole,
        }


def minimise(
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]],
    positions: np.ndarray,
    hessian: np.ndarray,
    *,
    check: Callable[[np.ndarray], None],
    max_steps: int,
    tolerance: float,
) -> np.ndarray:
    """BFGS with a trust radius; the last call of ``evaluate`` is at the minimum returned.

    Raises:
        CalculationError: no convergence within ``max_steps`` calls, or what ``evaluate`` and ``check`` raise.
    """
    energy, gradient = evaluate(positions)
    trust = FIRST_TRUST
    for _ in range(max_steps - 1):
        if np.abs(gradient).max() < tolerance:
            return positions
        values, vectors = np.linalg.eigh(hessian)
        step = -(vectors @ ((vectors.T @ gradient.ravel()) / np.maximum(np.abs(values), 5e-3))).reshape(-1, 3)
        longest = float(np.sqrt((step**2).sum(1)).max())
        if longest > trust:
            step *= trust / longest
        moved = positions + step
        check(moved)
        new_energy, new_gradient = evaluate(moved)
        predicted = float((gradient * step).sum() + 0.5 * step.ravel() @ hessian @ step.ravel())
        hessian = _update(hessian, step.ravel(), (new_gradient - gradient).ravel())
        if new_energy - energy > 1e-5:  # uphill: stay, but remember what was learnt
            trust = max(LEAST_TRUST, 0.4 * min(trust, longest))
            if trust > LEAST_TRUST:
                continue
        elif new_energy - energy < 0.75 * predicted:
            trust = min(MOST_TRUST, 1.7 * trust)
        positions, energy, gradient = moved, new_energy, new_gradient
    if np.abs(gradient).max() < tolerance:
        return positions
    left = f"largest gradient {np.abs(gradient).max():.1e} hartree/bohr"
    raise _failed(f"the relaxation does not converge in {max_steps} steps: {left}")


def _update(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Powell's damped BFGS update, which stays positive definite."""
    along = hessian @ step
    curvature = float(step @ along)
    product = float(step @ change)
    if product < 0.2 * curvature:
        share = 0.8 * curvature / (curvature - product)
        change = share * change + (1 - share) * along
        product = 0.2 * curvature
    return np.asarray(hessian - np.outer(along, along) / curvature + np.outer(change, change) / product)


def rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square distance of two (n, 3) geometries after superposition (Kabsch, 1976)."""
    a, b = first - first.mean(0), second - second.mean(0)
    u, singular, vt = np.linalg.svd(a.T @ b)
    singular[-1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))
    return float(np.sqrt(max(0.0, ((a**2).sum() + (b**2).sum() - 2 * singular.sum()) / len(a))))


def single_point(numbers: np.ndarray, coordinates: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Energy (eV), forces (atoms, 3) (eV / angstrom) and orbital gap (eV) of a closed-shell neutral molecule.

    Raises:
        CalculationError: broken input, or no SCF convergence.
    """
    numbers, positions = np.asarray(numbers, dtype=np.int64), np.asarray(coordinates, dtype=np.float64)
    if reason := fault(numbers, positions):
        raise _failed(reason, FailureCode.MOLECULE)
    evaluate = Evaluator(numbers, positions / BOHR_TO_ANGSTROM)
    energy, gradient = evaluate(positions / BOHR_TO_ANGSTROM)
    return energy * HARTREE_TO_EV, -gradient * (HARTREE_TO_EV / BOHR_TO_ANGSTROM), evaluate.last[1]


def _failed(reason: str, code: FailureCode = FailureCode.RELAXATION) -> CalculationError:
    return CalculationError(FailureClass.CHEMISTRY, reason, code)
