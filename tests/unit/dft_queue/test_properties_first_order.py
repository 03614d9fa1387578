"""The response to first-order densities is PySCF's own, but for single precision."""

from typing import Any

import numpy as np
import pytest
from pyscf import df
from pyscf.dft.numint import NumInt
from wave_functions import converged, of_both_spins

from gapsmith.dft_queue.properties import first_order
from gapsmith.dft_queue.properties.response import by_spin, prepared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def formaldehyde() -> Any:
    return converged([6, 8, 1, 1], [[0, 0, 0], [0, 0, 1.205], [0, 0.94, -0.59], [0, -0.94, -0.59]])


def changes(field: Any, sets: int, symmetry: int) -> np.ndarray:
    """First-order densities: symmetric (1), antisymmetric (2) or neither (0)."""
    random = np.random.default_rng(7)
    found = []
    for coefficients, _, filled in by_spin(field):
        empty, occupied = coefficients[:, filled == 0], coefficients[:, filled > 0]
        forth, back = random.normal(size=(2, sets, empty.shape[1], occupied.shape[1]))
        change = empty @ forth @ occupied.T
        reverse = (empty @ back @ occupied.T) if symmetry == 0 else change * (1 if symmetry == 1 else -1)
        found.append(change + reverse.transpose(0, 2, 1))
    return np.array(found) if len(found) == 2 else found[0]


def plain(field: Any) -> Any:
    copy = field.copy()
    copy._numint = NumInt()
    return copy


@pytest.mark.parametrize("unrestricted", [False, True])
@pytest.mark.parametrize("symmetry", [0, 1, 2])
def test_responses_are_pyscfs(formaldehyde: Any, unrestricted: bool, symmetry: int) -> None:
    field = of_both_spins(formaldehyde) if unrestricted else formaldehyde
    ready, reference = prepared(field), plain(field)
    kinds: list[dict[str, Any]] = [{}] if unrestricted else [{"singlet": kind} for kind in (None, True, False)]
    for options in kinds:
        densities = changes(ready, 3, symmetry)
        found = ready.gen_response(hermi=symmetry, **options)(densities)
        wanted = reference.gen_response(hermi=symmetry, **options)(densities)
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_exchange_does_not_go_through_full_rank(formaldehyde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared(formaldehyde)
    whole = df.DF.get_jk

    def coulomb_only(self: Any, dm: Any, hermi: int = 1, with_j: bool = True, with_k: bool = True, *rest: Any) -> Any:
        assert not with_k, "a first-order density was multiplied as if it had full rank"
        return whole(self, dm, hermi, with_j, with_k, *rest)

    monkeypatch.setattr(df.DF, "get_jk", coulomb_only)
    ready.gen_response(hermi=1)(changes(ready, 2, 1))
    with pytest.raises(AssertionError, match="full rank"):  # the tripwire works
        ready.with_df.get_jk(np.eye(ready.mol.nao))


def test_densities_of_another_form_are_left_to_pyscf(formaldehyde: Any) -> None:
    ready = prepared(formaldehyde)
    density = np.random.default_rng(1).normal(size=(ready.mol.nao, ready.mol.nao))
    density += density.T
    for found, wanted in zip(ready.with_df.get_jk(density), formaldehyde.with_df.get_jk(density), strict=True):
        np.testing.assert_array_equal(found, wanted)
    found = ready.gen_response(hermi=1)(density)
    np.testing.assert_allclose(found, plain(formaldehyde).gen_response(hermi=1)(density), atol=1e-9)


def test_nothing_is_kept_where_there_is_no_room(formaldehyde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared(formaldehyde)
    densities = changes(ready, 1, 1)
    with_room = ready.with_df.get_jk(densities)[1]
    assert ready.with_df._kept
    monkeypatch.setattr(first_order, "SHARE_OF_MEMORY", 0.0)
    cramped = prepared(formaldehyde)
    np.testing.assert_array_equal(cramped.with_df.get_jk(densities)[1], with_room)
    assert not cramped.with_df._kept
