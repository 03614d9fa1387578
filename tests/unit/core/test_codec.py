"""Geometries as bytes and back."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sampled import examples

from gapsmith.core.codec import decode, encode
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import DataError, InvalidMolecule

patient = settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def molecules(draw: st.DrawFn) -> Molecule:
    """Any arrays that fit together."""
    atoms = draw(st.integers(1, 12))
    pairs = draw(st.sets(st.tuples(st.integers(0, atoms - 1), st.integers(0, atoms - 1)).filter(lambda p: p[0] < p[1])))
    orders = [draw(st.integers(1, 3)) for _ in pairs]
    return Molecule(
        draw(arrays.arrays(np.uint8, atoms, elements=st.integers(1, 118))),
        draw(arrays.arrays(np.float64, (atoms, 3), elements=st.floats(-1e3, 1e3))),
        draw(arrays.arrays(np.int8, atoms, elements=st.integers(-8, 8))),
        np.array([(*pair, order) for pair, order in zip(pairs, orders, strict=True)], dtype=np.int16).reshape(-1, 3),
    )


@patient
@given(molecules())
def test_round_trip(molecule: Molecule) -> None:
    again = decode(*encode(molecule))
    for name in ("numbers", "coordinates", "charges", "bonds"):
        before, after = getattr(molecule, name), getattr(again, name)
        assert np.array_equal(before, after)
        assert before.dtype == after.dtype
        assert after.flags.writeable


def test_known_bytes() -> None:
    hydrogen_fluoride = Molecule(
        np.array([9, 1], dtype=np.uint8),
        np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        np.zeros(2, dtype=np.int8),
        np.array([[0, 1, 1]], dtype=np.int16),
    )
    encoded = encode(hydrogen_fluoride)
    assert encoded.numbers == b"\x09\x01"
    assert encoded.coordinates_angstrom == bytes(46) + b"\xf0\x3f"
    assert encoded.bonds == b"\x00\x00\x01\x00\x01\x00"
    assert encoded.charges == b"\x00\x00"


@patient
@given(molecules(), st.integers(0, 3), st.integers(1, 7))
def test_cut_off_bytes_are_damage(molecule: Molecule, column: int, missing: int) -> None:
    encoded = list(encode(molecule))
    if (column == 2 and missing >= len(encoded[2])) or (column == 2 and missing % 6 == 0) or not encoded[column]:
        return  # a whole bond less, or nothing to cut, is still a molecule
    encoded[column] = encoded[column][:-missing]
    with pytest.raises(DataError, match="damaged"):
        decode(*encoded)


def test_what_does_not_fit_together_is_not_stored() -> None:
    with pytest.raises(InvalidMolecule) as caught:
        encode(Molecule(np.array([1, 1]), np.zeros((2, 3)), np.zeros(2), np.array([[0, 2, 1]])))
    assert caught.value.reason == "bonds"
