"""A surprising gap is confirmed by another route of the SCF, or the calculation fails with its reason."""

import numpy as np
import pytest

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import shipped
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.confirming import confirmed, is_surprising
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.scf import converge, frontier_ev, molecule

FIRST = CalculationOutput(energy_hartree=-100.0, gap_ev=3.01, rung="diis", cpu_s=5.0)


@pytest.mark.parametrize(
    ("gap_ev", "expected", "surprising"),
    [
        (3.01, (6.20, 0.11), True),  # a strained cyclic alkyne
        (3.01, (3.60, 0.02), False),  # less than the model's own errors
        (3.01, (6.20, 0.80), False),  # the model said that it does not know
        (3.01, None, False),
        (None, (6.20, 0.11), False),
    ],
)
def test_surprise_is_measured_by_what_the_model_claims(
    gap_ev: float | None, expected: tuple[float, float] | None, surprising: bool
) -> None:
    assert is_surprising(gap_ev, expected) == surprising


def test_two_routes_that_agree_confirm_the_first() -> None:
    again = FIRST.model_copy(update={"gap_ev": 3.013, "rung": "other-guess-second-order", "cpu_s": 50.0})
    found = confirmed(FIRST, again)
    assert (found.gap_ev, found.confirmed_by, found.cpu_s) == (3.01, "other-guess-second-order", 55.0)
    assert "confirmed by another route: 3.013 eV" in found.findings[-1]


def test_two_routes_that_disagree_are_a_failure_with_both_numbers() -> None:
    again = FIRST.model_copy(update={"gap_ev": 6.18, "energy_hartree": -100.02})
    with pytest.raises(
        CalculationError, match=r"3\.010 eV, then 6\.180 eV by another.*\+0\.02000 hartree lower"
    ) as caught:
        confirmed(FIRST, again)
    assert caught.value.failure_class is FailureClass.CHEMISTRY


def test_the_other_route_is_another_level_of_one_engine() -> None:
    triage = shipped()["triage"]
    assert triage.version  # which a copy must not inherit
    other = triage.other_route
    assert (other.route, other.density_fitting, other.relaxation, other.method) == ("other", None, (), triage.method)
    assert other.version != triage.version
    assert find("pyscf").fault(other) is None
    assert "one route" in (find("tblite").fault(shipped()["xtb"].other_route) or "")


@pytest.mark.slow
def test_the_other_route_comes_to_the_same_gap() -> None:
    water = np.array([8, 1, 1]), np.array([[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
    gaps, rungs = [], []
    for level in (shipped()["single-point"], shipped()["single-point"].other_route):
        job = CalculationInput.of(*water, level)
        scf = converge(molecule(job, job.positions, memory_mb=2000), level)
        homo, lumo = frontier_ev(scf.mean_field, HARTREE_TO_EV)
        gaps.append(lumo - homo)
        rungs.append(scf.rung)
    assert rungs == ["diis", "other-guess-second-order"]
    assert gaps[1] == pytest.approx(gaps[0], abs=0.01)
