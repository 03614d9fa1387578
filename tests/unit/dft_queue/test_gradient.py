"""The gradient against PySCF's own, and against differences of the energy."""

import numpy as np
import pytest

from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.dft_queue import gradient as module
from gapsmith.dft_queue.gradient import gradient, known
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.scf import converge, molecule

pytestmark = pytest.mark.slow

LEVEL = shipped()["single-point"]
FORMAMIDE = np.array([6, 8, 7, 1, 1, 1])
BENT = np.array(
    [[-0.16, 0.38, 0.05], [-1.19, -0.25, 0], [1.08, -0.16, 0.1], [-0.13, 1.49, 0], [1.19, -1.16, 0], [1.90, 0.42, 0.2]]
)


def field(level: LevelOfTheory = LEVEL, spin: int = 0) -> object:
    job = CalculationInput.of(FORMAMIDE, BENT, level, charge=spin, spin=spin)
    return converge(molecule(job, BENT, memory_mb=2000), level).mean_field


def test_it_is_pyscfs(monkeypatch: pytest.MonkeyPatch) -> None:
    converged = field(LEVEL.model_copy(update={"convergence_hartree": 1e-8, "gradient_convergence": 1e-5}))
    assert known(converged)
    wanted = converged.nuc_grad_method().kernel()  # type: ignore[attr-defined]  # PySCF has no types
    assert np.abs(wanted).max() > 0.005
    np.testing.assert_allclose(gradient(converged), wanted, atol=3e-6)
    monkeypatch.setattr(module, "BLOCK_MB", 1)  # many blocks
    np.testing.assert_allclose(gradient(converged), wanted, atol=3e-6)


@pytest.mark.parametrize("functional", ["pbe0", "b3lyp"])
def test_other_functionals(functional: str) -> None:
    converged = field(LEVEL.model_copy(update={"method": functional, "basis": "6-31g"}))
    assert known(converged)
    wanted = converged.nuc_grad_method().kernel()  # type: ignore[attr-defined]  # PySCF has no types
    np.testing.assert_allclose(gradient(converged), wanted, atol=3e-6)


@pytest.mark.parametrize(
    ("changes", "spin"),
    [
        ({}, 1),
        ({"density_fitting": None}, 0),
        ({"method": "lda,vwn"}, 0),
        ({"method": "wb97x"}, 0),
        ({"method": "hf"}, 0),
    ],
)
def test_what_it_does_not_know_is_left_to_pyscf(changes: dict[str, object], spin: int) -> None:
    converged = field(LEVEL.model_copy(update={"basis": "sto-3g", **changes}), spin)
    assert not known(converged)
    assert np.abs(gradient(converged).sum(axis=0)).max() < 0.02  # forces cancel, up to the grid
