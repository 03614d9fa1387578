"""GFN2-xTB relaxations of 40 molecules: gapsmith's own minimiser beside geomeTRIC's and ASE's, with the same gradients.

Every optimiser gets energies and gradients of the same evaluator (tblite, each SCF from the density of the one before) and
is stopped at the first point whose largest gradient component is below the tolerance of ``core.xtb``, so that no
optimiser's own criteria count. ASE is not among gapsmith's requirements: pip install ase
"""

import importlib
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gapsmith.core.chemistry.model_hessian import model_hessian
from gapsmith.core.errors import CalculationError
from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.core.xtb import GRADIENT_TOLERANCE, MAX_STEPS, Evaluator, minimise

SMALL = (  # three to nine heavy atoms, as in QM9
    "CCO",
    "C1CO1",
    "CC=O",
    "C#CC",
    "NC=O",
    "CC(C)=O",
    "C1CCC1",
    "CC#CCO",
    "c1cc[nH]c1",
    "c1ccoc1",
    "CN1CC1C",
    "O=C1CCN1",
    "CC(=O)CF",
    "OCC(F)(F)F",
    "C1CC2CC2C1",
    "N#CC(O)C#N",
    "Cc1cnoc1",
    "O=C1C=CCO1",
    "CC1(C)CC1C#N",
    "c1cnc2[nH]ccc2n1",
)
LARGER = (  # ten to fourteen
    "CC(=O)Nc1ccccc1",
    "COc1ccc(C#N)cc1",
    "O=C(O)c1ccccc1F",
    "CCOC(=O)CC(C)=O",
    "c1ccc2ncccc2c1",
    "CN1CCN(C)CC1C(N)=O",
    "OCC1OC(O)CC1O",
    "CC(C)CC(N)C(=O)O",
    "O=C1NC(=O)c2ccccc21",
    "CCCCCCCCCC",
    "C1CC2CCC1C(=O)C2=O",
    "CC1=CC(=O)C=CC1=NO",
    "NC(=O)c1cccnc1F",
    "CC(C)(C)OC(=O)NC",
    "COC(=O)C1CCCN1",
    "c1ccc(-c2ccccn2)cc1",
    "O=C1OC2CC1C=C2F",
    "OC1COC2CC1OC2=O",
    "CSCCC(N)C(=O)O",
    "CC(C)c1ccc(O)cc1",
)
START_SEED = 7


@dataclass
class Outcome:
    """One optimiser, all molecules."""

    gradients: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    energies_hartree: list[float | None] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Reached(Exception):
    """The tolerance is reached."""


class Surface:
    """A molecule's energy surface that ends an optimisation at the tolerance, or when it takes too long."""

    def __init__(self, numbers: np.ndarray, start: np.ndarray) -> None:
        self._evaluate = Evaluator(numbers, start)
        self.gradients = 0
        self.energy = np.nan

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (hartree) and gradient (n, 3) (hartree / bohr) at positions in bohr."""
        if self.gradients == MAX_STEPS:
            raise RuntimeError(f"no convergence within {MAX_STEPS} gradients")
        self.gradients += 1
        self.energy, gradient = self._evaluate(positions)
        if np.abs(gradient).max() < GRADIENT_TOLERANCE:
            raise Reached
        return self.energy, gradient


Optimiser = Callable[[np.ndarray, np.ndarray, Surface], None]  # atomic numbers, start in bohr


def own(numbers: np.ndarray, start: np.ndarray, surface: Surface) -> None:
    """``core.xtb.minimise``: BFGS in Cartesian coordinates from a model Hessian."""
    hessian = model_hessian(numbers, start)
    minimise(surface, start, hessian, check=lambda _: None, max_steps=MAX_STEPS + 1, tolerance=0.0)


def geometric(numbers: np.ndarray, start: np.ndarray, surface: Surface) -> None:
    """The optimiser geomeTRIC in translation-rotation internal coordinates, its default."""
    from geometric.engine import Engine
    from geometric.internal import DelocalizedInternalCoordinates
    from geometric.molecule import Elements, Molecule
    from geometric.optimize import Optimize, OptParams

    molecule = Molecule()
    molecule.elem = [Elements[number] for number in numbers]
    molecule.xyzs = [start * BOHR_TO_ANGSTROM]
    molecule.build_topology()

    class Given(Engine):  # type: ignore[misc]  # geomeTRIC has no types
        def calc_new(self, coords: np.ndarray, dirname: str) -> dict[str, Any]:
            energy, gradient = surface(coords.reshape(-1, 3))
            return {"energy": energy, "gradient": gradient.ravel()}

    coordinates = DelocalizedInternalCoordinates(molecule, build=True, connect=False, addcart=False)
    tight = OptParams(maxiter=2 * MAX_STEPS, convergence_set="GAU_VERYTIGHT")
    with tempfile.TemporaryDirectory() as folder:
        Optimize(start.ravel(), molecule, coordinates, Given(molecule), folder, tight)


def ase(name: str) -> Optimiser:
    """One of ASE's optimisers, with its own defaults."""

    def run(numbers: np.ndarray, start: np.ndarray, surface: Surface) -> None:
        library: Any = importlib.import_module("ase")  # not installed everywhere, which type checkers need not know
        calculator: Any = importlib.import_module("ase.calculators.calculator")
        optimisers: Any = importlib.import_module("ase.optimize")

        class Given(calculator.Calculator):  # type: ignore[misc]  # ASE has no types
            implemented_properties = ("energy", "forces")

            def calculate(
                self, atoms: Any = None, properties: Any = (), system_changes: Any = calculator.all_changes
            ) -> None:
                super().calculate(atoms, properties, system_changes)
                energy, gradient = surface(atoms.positions / BOHR_TO_ANGSTROM)
                forces = -gradient * (HARTREE_TO_EV / BOHR_TO_ANGSTROM)
                self.results = {"energy": energy * HARTREE_TO_EV, "forces": forces}

        atoms = library.Atoms(numbers=numbers, positions=start * BOHR_TO_ANGSTROM)
        atoms.calc = Given()
        getattr(optimisers, name)(atoms, logfile=None).run(fmax=1e-6, steps=2 * MAX_STEPS)

    return run


OPTIMISERS: dict[str, Optimiser] = {
    "gapsmith": own,
    "geomeTRIC": geometric,
    "ASE BFGS": ase("BFGS"),
    "ASE BFGSLineSearch": ase("BFGSLineSearch"),
    "ASE LBFGS": ase("LBFGS"),
    "ASE FIRE": ase("FIRE"),
}


def geometry(smiles: str, *, mmff: bool) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and a start in bohr: RDKit's embedding, relaxed with MMFF94 or not."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if rdDistGeom.EmbedMolecule(mol, randomSeed=START_SEED) != 0:
        raise ValueError(f"{smiles} cannot be embedded")
    if mmff:
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=2000)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, np.asarray(mol.GetConformer().GetPositions()) / BOHR_TO_ANGSTROM


def compare(smiles: list[str], *, mmff: bool) -> dict[str, Outcome]:
    """Every optimiser on every molecule."""
    found = {name: Outcome() for name in OPTIMISERS}
    for one in smiles:
        numbers, start = geometry(one, mmff=mmff)
        for name, optimise in OPTIMISERS.items():
            surface = Surface(numbers, start)
            began = time.process_time()
            energy: float | None = None
            try:
                optimise(numbers, start.copy(), surface)
                found[name].failed.append(f"{one}: ends before the tolerance")
            except Reached:
                energy = surface.energy
            except (CalculationError, RuntimeError, np.linalg.LinAlgError) as error:
                found[name].failed.append(f"{one}: {str(error) or type(error).__name__}")
            found[name].cpu_s.append(time.process_time() - began)
            found[name].gradients.append(surface.gradients)
            found[name].energies_hartree.append(energy)
    return found


def summary(found: dict[str, Outcome]) -> dict[str, object]:
    """Numbers of each; energies beside the lowest that any of them reached."""
    columns = zip(*(one.energies_hartree for one in found.values()), strict=True)
    lowest = [min((e for e in column if e is not None), default=np.nan) for column in columns]
    rows: dict[str, object] = {}
    for name, one in found.items():
        above = [
            HARTREE_TO_EV * (e - low) for e, low in zip(one.energies_hartree, lowest, strict=True) if e is not None
        ]
        rows[name] = {
            "gradients": sum(one.gradients),
            "gradients_median": statistics.median(one.gradients),
            "gradients_most": max(one.gradients),
            "cpu_s": round(sum(one.cpu_s), 2),
            "energy_above_lowest_mean_mev": round(1000 * statistics.mean(above), 2),
            "energy_above_lowest_most_mev": round(1000 * max(above), 1),
            "in_another_minimum": sum(e > 0.01 for e in above),  # more than 10 meV above
            "failed": one.failed,
        }
    return rows


def measure() -> dict[str, object]:
    """Relax both sets of molecules from both kinds of start."""
    logging.disable(logging.INFO)  # geomeTRIC tells every step
    warnings.simplefilter("ignore")
    result: dict[str, object] = {"tolerance_hartree_per_bohr": GRADIENT_TOLERANCE, "most_gradients": MAX_STEPS}
    for start, mmff in (("rdkit", False), ("mmff", True)):
        for size, smiles in (("small", SMALL), ("larger", LARGER)):
            result[f"{size}_from_{start}"] = summary(compare(list(smiles), mmff=mmff))
    return result
