"""What every engine must keep, whatever computes in it. A plug-in's test inherits ``EngineContract``."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gapsmith.core.errors import CalculationError, FailureClass
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.engines import find, names
from gapsmith.dft_queue.engines.protocol import Engine
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

WATER = (8, 1, 1)
DISTORTED = np.array([[0.02, -0.01, 0.12], [0.0, 0.81, -0.44], [0.05, -0.73, -0.5]])


def job(level: LevelOfTheory, numbers: tuple[int, ...] = WATER, charge: int = 0, spin: int = 0) -> CalculationInput:
    return CalculationInput.of(np.array(numbers), DISTORTED[: len(numbers)], level, charge, spin)


class EngineContract:
    """Inherit it, and name a level of the engine at which a water molecule takes seconds."""

    level: LevelOfTheory

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine, found as the workers find it."""
        return find(self.level.engine)

    def test_it_is_found_by_its_name(self, engine: Engine) -> None:
        assert self.level.engine in names()
        assert isinstance(engine, Engine)

    def test_the_gradient_is_the_derivative_of_the_energy(self, engine: Engine) -> None:
        surface = engine.surface(job(self.level), 1000)
        _, gradient = surface.gradient(DISTORTED)
        assert gradient.shape == (3, 3)
        assert gradient.sum(axis=0) == pytest.approx(np.zeros(3), abs=2e-4)
        step = 0.01  # bohr
        for direction in np.random.default_rng(5).normal(size=(2, 3, 3)):
            shift = step * direction * BOHR_TO_ANGSTROM
            up, down = (surface.gradient(DISTORTED + sign * shift)[0] for sign in (1, -1))
            assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), abs=3e-4)

    def test_a_moved_molecule_has_the_same_energy_and_gap(self, engine: Engine, tmp_path: Path) -> None:
        surface = engine.surface(job(self.level), 1000)
        here, there = (
            surface.properties(DISTORTED + shift, tmp_path).values for shift in (0.0, np.array([1.3, -0.4, 2.2]))
        )
        assert there["energy_hartree"] == pytest.approx(here["energy_hartree"], abs=5e-6)
        assert there["gap_ev"] == pytest.approx(here["gap_ev"], abs=2e-3)

    def test_properties_belong_to_their_geometry_and_are_fields_of_the_output(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        surface = engine.surface(job(self.level), 1000)
        energy, _ = surface.gradient(DISTORTED)
        at_once = surface.properties(DISTORTED, tmp_path)
        assert at_once.values["energy_hartree"] == pytest.approx(energy, abs=1e-8)
        moved = DISTORTED * 1.05
        after, fresh = (
            each.properties(moved, tmp_path).values for each in (surface, engine.surface(job(self.level), 1000))
        )
        assert after["energy_hartree"] != pytest.approx(energy, abs=1e-4)
        for name in ("energy_hartree", "homo_ev", "lumo_ev", "gap_ev", "dipole_debye"):
            assert after[name] == pytest.approx(fresh[name], abs=2e-3), name
        output = CalculationOutput(**fresh)
        assert CalculationOutput.model_validate_json(output.model_dump_json()) == output
        assert set(fresh) <= set(CalculationOutput.model_fields)
        assert output.gap_ev is not None
        assert output.homo_ev is not None
        assert output.lumo_ev is not None
        assert output.gap_ev == pytest.approx(output.lumo_ev - output.homo_ev)
        assert output.gap_ev > 3
        assert output.mulliken_e is not None
        assert sum(output.mulliken_e) == pytest.approx(0, abs=1e-5)
        assert output.mulliken_e[0] < -0.2
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("change", "numbers", "named"),
        [
            ({}, (118, 1, 1), "118|Og"),
            ({"method": "no-such-method"}, WATER, "no-such-method"),
            ({"options": {"no-such-option": 1, "program": "mopac"}}, WATER, "no-such-option"),
        ],
        ids=["element", "method", "option"],
    )
    def test_what_cannot_be_computed_is_refused_with_a_sentence(
        self,
        engine: Engine,
        change: dict[str, Any],
        numbers: tuple[int, ...],
        named: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def opened(*_: object) -> None:
            raise AssertionError("opened a surface for a job that should have been refused")

        monkeypatch.setattr(type(engine), "surface", opened)
        refused = job(self.level.model_copy(update=change), numbers)
        reason = engine.fault(refused.level) or engine.refusal(refused)
        assert reason is not None
        assert re.search(named, reason, re.IGNORECASE)
        assert "\n" not in reason
        assert len(reason.split()) > 4
        with pytest.raises(CalculationError) as caught:
            compute(refused, tmp_path)
        assert (caught.value.failure_class, caught.value.reason) == (FailureClass.POISON, reason)

    def test_charge_and_unpaired_electrons_count_or_are_refused(self, engine: Engine, tmp_path: Path) -> None:
        neutral = engine.surface(job(self.level), 1000).properties(DISTORTED, tmp_path).values["energy_hartree"]
        cation = job(self.level, charge=1, spin=1)
        if reason := engine.refusal(cation):
            assert len(reason.split()) > 4
            return
        surface = engine.surface(cation, 1000)
        energy, gradient = surface.gradient(DISTORTED)
        assert 0.3 < energy - neutral < 0.8  # water's ionisation potential is 0.46 hartree
        assert np.isfinite(gradient).all()
        charges = surface.properties(DISTORTED, tmp_path).values["mulliken_e"]
        assert sum(charges) == pytest.approx(1, abs=1e-5)
        hydroxide = job(self.level, (8, 1), charge=-1)
        assert engine.refusal(hydroxide) is None
        values = engine.surface(hydroxide, 1000).properties(DISTORTED[:2], tmp_path).values
        assert sum(values["mulliken_e"]) == pytest.approx(-1, abs=1e-5)

    def test_a_relaxation_ends_where_the_gradient_is_small(self, engine: Engine, tmp_path: Path) -> None:
        relaxing = self.level.model_copy(update={"relaxation": ("self",)})
        output = compute(job(relaxing), tmp_path)
        assert output.coordinates_angstrom is not None
        oxygen, *hydrogens = np.array(output.coordinates_angstrom)
        lengths = [np.linalg.norm(hydrogen - oxygen) for hydrogen in hydrogens]
        assert lengths == pytest.approx([0.99, 0.99], abs=0.06)
        assert lengths[0] == pytest.approx(lengths[1], abs=0.01)
        _, gradient = engine.surface(job(relaxing), 1000).gradient(np.array(output.coordinates_angstrom))
        assert np.abs(gradient).max() < 2e-3

    def test_software_names_versions(self, engine: Engine, tmp_path: Path) -> None:
        told = {**engine.software(), **engine.surface(job(self.level), 1000).properties(DISTORTED, tmp_path).software}
        assert told
        assert all(re.match(r"\d+\.\d+", version) for version in told.values())
        assert self.level.options.get("program", self.level.engine) in told
