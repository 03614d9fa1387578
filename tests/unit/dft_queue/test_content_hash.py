"""Content hashes: what makes two calculations the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gapsmith.core.calculation import COORDINATE_STEP_ANGSTROM, LEVEL_VERSIONS, content_hash
from gapsmith.core.errors import InputError

WATER = np.array([8, 1, 1], dtype=np.uint8)
GEOMETRY = np.array([[0.0, 0.0, 0.1177], [0.0, 0.7555, -0.4712], [0.0, -0.7555, -0.4712]])

geometries = arrays(np.float64, (5, 3), elements=st.integers(-80_000, 80_000).map(lambda step: step * 1e-4))
shifts = arrays(np.float64, (3,), elements=st.integers(-1000, 1000).map(lambda step: step * 0.37))


@settings(max_examples=50, deadline=None)
@given(geometries, shifts)
def test_moving_the_molecule_changes_nothing(geometry: np.ndarray, shift: np.ndarray) -> None:
    numbers = np.array([6, 1, 1, 1, 1])
    before = content_hash(numbers, geometry, 0, 0, "triage")
    assert content_hash(numbers, geometry + shift, 0, 0, "triage") == before


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2), st.integers(0, 2), st.floats(3, 1000))
def test_a_real_difference_in_geometry_counts(atom: int, axis: int, steps: float) -> None:
    moved = GEOMETRY.copy()
    moved[atom, axis] += steps * COORDINATE_STEP_ANGSTROM
    assert content_hash(WATER, moved, 0, 0, "triage") != content_hash(WATER, GEOMETRY, 0, 0, "triage")


def test_what_else_counts() -> None:
    hashes = {
        content_hash(WATER, GEOMETRY, 0, 0, "triage"),
        content_hash(WATER, GEOMETRY, 0, 0, "certificate"),
        content_hash(WATER, GEOMETRY, 1, 1, "triage"),
        content_hash(WATER, GEOMETRY, 0, 2, "triage"),
        content_hash(np.array([9, 1, 1]), GEOMETRY, 0, 0, "triage"),
        content_hash(WATER[[1, 0, 2]], GEOMETRY[[1, 0, 2]], 0, 0, "triage"),
    }
    assert len(hashes) == 6


def test_number_types_do_not_count() -> None:
    wide = content_hash(WATER.astype(np.int64), GEOMETRY.astype(np.float64), 0, 0, "triage")
    assert content_hash(WATER, np.asfortranarray(GEOMETRY), 0, 0, "triage") == wide


def test_every_level_has_its_own_version() -> None:
    assert len(set(LEVEL_VERSIONS.values())) == len(LEVEL_VERSIONS) == 2


def test_refuses_what_it_cannot_name() -> None:
    with pytest.raises(InputError, match=r"'best'.*triage, certificate"):
        content_hash(WATER, GEOMETRY, 0, 0, "best")
    with pytest.raises(InputError, match="3 atoms"):
        content_hash(WATER, GEOMETRY[:2], 0, 0, "triage")
    with pytest.raises(InputError, match="finite"):
        content_hash(WATER, GEOMETRY * np.nan, 0, 0, "triage")
