"""Content hashes: what makes two calculations the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sampled import examples

from gapsmith.core.calculation import COORDINATE_STEP_ANGSTROM, content_hash
from gapsmith.core.errors import InputError
from gapsmith.core.levels import GENERATED, GFN2, shipped

TRIAGE, CERTIFICATE, SINGLE = (shipped()[name] for name in ("triage", "certificate", "single-point"))
WATER = np.array([8, 1, 1], dtype=np.uint8)
GEOMETRY = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])

geometries = arrays(np.float64, (5, 3), elements=st.integers(-80_000, 80_000).map(lambda step: step * 1e-4))
shifts = arrays(np.float64, (3,), elements=st.integers(-1000, 1000).map(lambda step: step * 0.37))


@settings(max_examples=examples(50), deadline=None)
@given(geometries, shifts)
def test_moving_the_molecule_changes_nothing(geometry: np.ndarray, shift: np.ndarray) -> None:
    numbers = np.array([6, 1, 1, 1, 1])
    before = content_hash(numbers, geometry, 0, 0, TRIAGE, GENERATED)
    assert content_hash(numbers, geometry + shift, 0, 0, TRIAGE, GENERATED) == before


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 2), st.integers(0, 2), st.floats(3, 1000))
def test_a_real_difference_in_geometry_counts(atom: int, axis: int, steps: float) -> None:
    moved = GEOMETRY.copy()
    moved[atom, axis] += steps * COORDINATE_STEP_ANGSTROM
    assert content_hash(WATER, moved, 0, 0, TRIAGE, GENERATED) != content_hash(WATER, GEOMETRY, 0, 0, TRIAGE, GENERATED)


def test_what_else_counts() -> None:
    hashes = {
        content_hash(WATER, GEOMETRY, 0, 0, TRIAGE, GENERATED),
        content_hash(WATER, GEOMETRY, 0, 0, CERTIFICATE, GENERATED),
        content_hash(WATER, GEOMETRY, 1, 1, TRIAGE, GENERATED),
        content_hash(WATER, GEOMETRY, 0, 2, TRIAGE, GENERATED),
        content_hash(np.array([9, 1, 1]), GEOMETRY, 0, 0, TRIAGE, GENERATED),
        content_hash(WATER[[1, 0, 2]], GEOMETRY[[1, 0, 2]], 0, 0, TRIAGE, GENERATED),
    }
    assert len(hashes) == 6


def test_number_types_do_not_count() -> None:
    wide = content_hash(WATER.astype(np.int64), GEOMETRY.astype(np.float64), 0, 0, TRIAGE, GENERATED)
    assert content_hash(WATER, np.asfortranarray(GEOMETRY), 0, 0, TRIAGE, GENERATED) == wide


def test_names_and_limits_do_not_count() -> None:
    renamed = TRIAGE.model_copy(
        update={"name": "mine", "about": "", "memory_mb": 9000, "time_limit_s": 1.0, "queue": "xtb"}
    )
    before = content_hash(WATER, GEOMETRY, 0, 0, TRIAGE, GENERATED)
    assert content_hash(WATER, GEOMETRY, 0, 0, renamed, GENERATED) == before


@pytest.mark.parametrize(
    "change",
    [{"grid": 3}, {"basis": "def2-svp"}, {"density_fitting": None}, {"convergence_hartree": 1e-9}, {"revision": 2},
     {"relaxation": ("gfn2-xtb", "self")}, {"options": {"x": 1}}, {"stability": True}],
)  # fmt: skip
def test_what_decides_a_result_counts(change: dict[str, object]) -> None:
    other = TRIAGE.model_copy(update=change)
    before = content_hash(WATER, GEOMETRY, 0, 0, TRIAGE, GENERATED)
    assert content_hash(WATER, GEOMETRY, 0, 0, other, GENERATED) != before


def test_a_stage_that_a_geometry_has_behind_it_does_not_count() -> None:
    relaxed = content_hash(WATER, GEOMETRY, 0, 0, TRIAGE, GFN2)
    assert relaxed == content_hash(WATER, GEOMETRY, 0, 0, SINGLE, GENERATED)
    assert relaxed != content_hash(WATER, GEOMETRY, 0, 0, TRIAGE, GENERATED)
    assert content_hash(WATER, GEOMETRY, 0, 0, CERTIFICATE, GFN2) != relaxed


def test_refuses_what_it_cannot_name() -> None:
    with pytest.raises(InputError, match="3 atoms"):
        content_hash(WATER, GEOMETRY[:2], 0, 0, TRIAGE, GENERATED)
    with pytest.raises(InputError, match="finite"):
        content_hash(WATER, GEOMETRY * np.nan, 0, 0, TRIAGE, GENERATED)
