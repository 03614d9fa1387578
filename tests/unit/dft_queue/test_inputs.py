"""Inputs for other programs, read back by other readers: geometry, charge, multiplicity, functions, solvent."""

import io
import re
from typing import Any

import numpy as np
import pytest
from pyscf import gto
from pyscf.gto.basis import parse_gaussian
from qcelemental.models.v1 import Molecule

from gapsmith.core.errors import InputError
from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.basis import by_name
from gapsmith.dft_queue.commands.inputs import gaussian, orca, psi4
from gapsmith.dft_queue.jobs import CalculationInput

NUMBERS = np.array([8, 1, 1])
GEOMETRY = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])


def job(level: str = "triage", **changes: Any) -> CalculationInput:
    asked = LevelOfTheory(**{**shipped()[level].model_dump(), **changes})
    return CalculationInput.of(NUMBERS, GEOMETRY, asked, charge=1, spin=1)


def test_gaussian_by_ase() -> None:
    read = pytest.importorskip("ase.io").read
    text = gaussian(job(), "water [triage 1a2b]")
    atoms = read(io.StringIO(text), format="gaussian-in", attach_calculator=True)
    assert atoms.numbers.tolist() == NUMBERS.tolist()
    np.testing.assert_allclose(atoms.positions, GEOMETRY, atol=1e-7)
    asked = atoms.calc.parameters
    assert (asked["charge"], asked["mult"]) == (1, 2)
    assert "\n#P B3LYP/6-31g(2df,p) SCF=Tight Pop=Minimal 6D 7F\n" in text


def test_orca_by_ase() -> None:
    reader = pytest.importorskip("ase.io.orca")
    text = orca(job(), "water")
    atoms = reader.read_geom_orcainp(io.StringIO(text))
    np.testing.assert_allclose(atoms.positions, GEOMETRY, atol=1e-7)
    assert "*xyz 1 2\n" in text
    assert re.search(r"^! B3LYP/G .*RIJK def2/JK$", text, re.M)


def test_psi4_by_qcelemental() -> None:
    text = psi4(job(), "water")
    inside = text.split("molecule {\n")[1].split("\n}")[0]
    found = Molecule.from_data(inside, dtype="psi4")
    np.testing.assert_allclose(found.geometry * BOHR_TO_ANGSTROM, GEOMETRY, atol=1e-7)
    assert (found.molecular_charge, found.molecular_multiplicity) == (1, 2)
    assert "reference uks" in text
    assert "energy('b3lyp')" in text


@pytest.mark.parametrize("level", ["triage", "wide"])
def test_the_functions_written_are_those_of_the_level(level: str) -> None:
    asked = job(level)
    block = psi4(asked, "").split("spherical\n")[1].split("\n}")[0]
    sections = [part.strip() for part in block.split("****") if part.strip()]
    written = {part.split()[0]: parse_gaussian.parse(part) for part in sections}
    atoms = [("O", GEOMETRY[0]), ("H", GEOMETRY[1]), ("H", GEOMETRY[2])]
    ours = gto.M(atom=atoms, basis=by_name(str(asked.level.basis), NUMBERS), verbose=0)
    theirs = gto.M(atom=atoms, basis=written, verbose=0)
    levels, written_ones = (np.sort(np.linalg.eigvalsh(mol.intor("int1e_kin"))) for mol in (ours, theirs))
    np.testing.assert_allclose(levels, written_ones, rtol=1e-6)
    primitives = re.findall(r"^    \d+ (\S+) \S+$", orca(asked, ""), re.M)
    assert sorted(map(float, primitives)) == sorted(
        float(row.split()[0]) for row in block.splitlines() if row.startswith("  ")
    )


def test_solvents_and_dispersion() -> None:
    smd = job(method="pbe0-d3bj", basis="def2-svp", solvent={"model": "smd", "name": "toluene"})
    assert "EmpiricalDispersion=GD3BJ" in gaussian(smd, "")
    assert "PBE1PBE/def2svp" in gaussian(smd, "")
    assert "SCRF=(SMD,Solvent=Toluene)" in gaussian(smd, "")
    assert 'SMDsolvent "toluene"' in orca(smd, "")
    assert "! PBE0 D3BJ TightSCF def2-svp" in orca(smd, "")
    with pytest.raises(InputError, match="the solvent model smd"):
        psi4(smd, "")
    pcm = smd.model_copy(update={"level": job(solvent={"model": "pcm", "name": "water"}).level})
    assert "ddx_model pcm" in psi4(pcm, "")
    with pytest.raises(InputError, match="the solvent model pcm"):
        orca(pcm, "")
    water = job("xtb", solvent={"model": "alpb", "name": "water"})
    assert "! XTB2 ALPB(water)" in orca(water, "")
    with pytest.raises(
        InputError, match="cannot be written for Gaussian: no name is known there for the method gfn2-xtb"
    ):
        gaussian(water, "")
    with pytest.raises(InputError, match="the method pbe0-d4"):
        gaussian(job(method="pbe0-d4", basis="def2-svp"), "")
