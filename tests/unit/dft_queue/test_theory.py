"""Levels do what they say: solvents, dispersion, range separation and memory, each next to plain PySCF or tblite."""

import numpy as np
import pytest
from pyscf import dft, gto
from rdkit import Chem
from tblite.interface import Calculator

from gapsmith.core.chemistry.conversion import from_rdkit
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.scf import converge, frontier_ev, molecule
from gapsmith.dft_queue.theory import range_separated

FORMALDEHYDE = (6, 8, 1, 1), ((0.0, 0.0, -0.53), (0.0, 0.0, 0.68), (0.0, 0.94, -1.12), (0.0, -0.94, -1.12))
SMALL = {"basis": "6-31g", "convergence_hartree": 1e-8, "gradient_convergence": None, "grid": 1}


def level(**changes: object) -> LevelOfTheory:
    return LevelOfTheory.model_validate(shipped()["single-point"].model_dump() | SMALL | changes)


def job(theory: LevelOfTheory) -> CalculationInput:
    return CalculationInput(level=theory, numbers=FORMALDEHYDE[0], coordinates_angstrom=FORMALDEHYDE[1])


def computed(theory: LevelOfTheory) -> tuple[float, float]:
    """Energy (hartree) and gap (eV)."""
    asked = job(theory)
    field = converge(molecule(asked, asked.positions, memory_mb=2000), theory).mean_field
    homo, lumo = frontier_ev(field, HARTREE_TO_EV)
    return float(field.e_tot), lumo - homo


def plain(xc: str) -> dft.rks.RKS:
    atoms = list(zip(("C", "O", "H", "H"), FORMALDEHYDE[1], strict=True))
    field = dft.RKS(gto.M(atom=atoms, basis="6-31g", verbose=0), xc=xc)
    field.grids.level = 1
    return field


def result(field: dft.rks.RKS) -> tuple[float, float]:
    field.kernel()
    filled = field.mo_occ > 0
    return float(field.e_tot), float(field.mo_energy[~filled].min() - field.mo_energy[filled].max()) * HARTREE_TO_EV


def test_a_solvent_is_part_of_the_identity_and_none_is_not() -> None:
    dry = level()
    wet = level(solvent={"model": "smd", "name": "water"})
    assert dry.version != wet.version != level(solvent={"model": "smd", "name": "toluene"}).version
    assert wet.version != level(solvent={"model": "pcm", "name": "water"}).version
    assert dry.own_geometry != wet.own_geometry
    assert not dry.same_single_point(wet)
    assert "solvent" not in dry.model_dump(exclude_none=True)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["smd", "pcm", "ddcosmo"])
def test_solvents_are_those_of_plain_pyscf(model: str) -> None:
    energy, gap = computed(level(solvent={"model": model, "name": "Water"}))
    dry, _ = computed(level())
    if model == "smd":
        field = plain("b3lypg").SMD()
        field.with_solvent.solvent = "water"
    else:
        field = plain("b3lypg").PCM() if model == "pcm" else plain("b3lypg").ddCOSMO()
        field.with_solvent.eps = 78.355
        field.with_solvent.method = "IEF-PCM"
    wanted, wanted_gap = result(field)
    vacuum, _ = result(plain("b3lypg"))
    assert energy - dry == pytest.approx(wanted - vacuum, abs=2e-5)
    assert energy - dry < -1e-3
    assert gap == pytest.approx(wanted_gap, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "same"),
    [("b3lypg-d3bj", "b3lyp-d3bj"), ("pbe0-d4", "pbe0-d4"), ("camb3lyp", "camb3lyp"), ("wb97x-d3bj", "wb97x-d3bj")],
)
def test_dispersion_and_range_separation_are_those_of_plain_pyscf(method: str, same: str) -> None:
    if "-d" in method:
        pytest.importorskip("pyscf.dispersion")
    energy, gap = computed(level(method=method))
    wanted, wanted_gap = result(plain(same))
    assert energy == pytest.approx(wanted, abs=2e-4)  # of density fitting
    assert gap == pytest.approx(wanted_gap, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"method": "b3lypg-d3bj"}, {"method": "camb3lyp"}, {"solvent": {"model": "pcm", "name": "water"}}],
    ids=["dispersion", "range-separated", "solvent"],
)
def test_gradients_are_those_of_the_energy(changes: dict[str, object]) -> None:
    if "dispersion" in str(changes) or "-d3" in str(changes):
        pytest.importorskip("pyscf.dispersion")
    asked = job(level(**changes))
    surface = find("pyscf").surface(asked, 2000)
    _, gradient = surface.gradient(asked.positions)
    direction = np.random.default_rng(3).normal(size=(4, 3))
    up, down = (surface.gradient(asked.positions + sign * 0.01 * BOHR_TO_ANGSTROM * direction)[0] for sign in (1, -1))
    assert (gradient * direction).sum() == pytest.approx((up - down) / 0.02, abs=5e-4)


@pytest.mark.parametrize(("model", "name", "arguments"), [
    ("alpb", "toluene", ("alpb-solvation", "toluene")),
    ("cpcm", "water", ("ddX-solvation", "water", "cpcm")),
])  # fmt: skip
def test_gfn2_solvents_are_those_of_tblite(model: str, name: str, arguments: tuple[str, ...]) -> None:
    theory = LevelOfTheory(name="wet", engine="tblite", method="gfn2-xtb", solvent={"model": model, "name": name})
    asked = job(theory)
    assert find("tblite").fault(theory) is None
    energy, _ = find("tblite").surface(asked, 1000).gradient(asked.positions)
    calculator = Calculator("GFN2-xTB", np.array(FORMALDEHYDE[0]), asked.positions / BOHR_TO_ANGSTROM)
    calculator.set("verbosity", 0)
    dry = float(calculator.singlepoint().get("energy"))
    calculator.add(*arguments)
    assert energy == pytest.approx(float(calculator.singlepoint().get("energy")), abs=1e-6)
    assert energy < dry - 1e-3


def test_memory_follows_from_atoms_and_basis() -> None:
    engine = find("pyscf")

    def needed_mb(smiles: str, name: str) -> int:
        rough = from_rdkit(embed(Chem.MolFromSmiles(smiles)))
        found = engine.memory_mb(CalculationInput.of(rough.numbers, rough.coordinates, shipped()[name]))
        assert found is not None
        return found

    assert needed_mb("c1ccccc1", "triage") < 3000  # the default does
    assert needed_mb("c1ccc2ccccc2c1", "triage") == pytest.approx(2055 * 1.15, rel=0.1)  # MB of address space, measured
    assert 3000 < needed_mb("c1ccc2cc3ccccc3cc2c1", "triage") < 8000  # anthracene
    assert needed_mb("c1ccc2[nH]c3ccccc3c2c1", "triage") > 3000  # carbazole
    assert needed_mb("c1ccc2cc3ccccc3cc2c1", "wide") < needed_mb("c1ccc2cc3ccccc3cc2c1", "triage")


@pytest.mark.parametrize(
    ("method", "expected"),
    [("camb3lyp", True), ("wb97x-d3bj", True), ("b3lypg", False), ("pbe0-d4", False), ("pbe", False), ("hf", False)],
)
def test_which_functionals_are_range_separated(method: str, expected: bool) -> None:
    assert range_separated(method) == expected
