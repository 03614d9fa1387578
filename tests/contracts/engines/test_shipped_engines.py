"""The engines of the installation keep the contract."""

import shutil

import pytest
from tests.contracts.engines.contract import EngineContract

from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.engines import names

pytestmark = pytest.mark.slow


class TestPyscf(EngineContract):
    """DFT."""

    level = LevelOfTheory(
        name="contract-pyscf",
        engine="pyscf",
        method="pbe",
        basis="sto-3g",
        density_fitting="def2-universal-jkfit",
        grid=2,  # gradients leave out how the grid moves with the atoms: 1 is too coarse for their test
        convergence_hartree=1e-8,
        gradient_convergence=1e-5,
    )


class TestTblite(EngineContract):
    """GFN2-xTB."""

    level = LevelOfTheory(name="contract-tblite", engine="tblite", method="gfn2-xtb")


@pytest.mark.skipif(shutil.which("mopac") is None, reason="MOPAC is not installed")
class TestQCEngine(EngineContract):
    """MOPAC by QCEngine."""

    level = LevelOfTheory(
        name="contract-qcengine", engine="qcengine", method="PM7", options={"program": "mopac"}, queue="xtb"
    )


def test_no_engine_is_left_out() -> None:
    assert {one.level.engine for one in (TestPyscf, TestTblite, TestQCEngine)} == set(names())
