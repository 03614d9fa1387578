"""Batches: pure functions of the step, shares of ranks, shares of sources, replay, and what a geometry must be."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gapsmith.core.errors import InputError
from gapsmith.data import qm9_source
from gapsmith.data.molecules import Molecules, joined
from gapsmith.surrogate.batches import (
    MOST_MEMBERS,
    Batch,
    MixedSource,
    ReplaySource,
    Share,
    apportion,
    bootstrap_weights,
)
from gapsmith.surrogate.data import from_geometries
from gapsmith.surrogate.graph import graph


def molecules(count: int, seed: int = 0, first: int = 0) -> Molecules:
    """Chains of carbon of random length; the gap is the molecule's number, so that it can be told again."""
    sizes = np.random.default_rng(seed).integers(3, 20, count)
    geometries = [
        (np.full(n, 6), np.stack([np.arange(n) * 1.5, np.zeros(n), np.zeros(n)], axis=1)) for n in sizes.tolist()
    ]
    return from_geometries(geometries, [{"gap_ev": float(first + i), "homo_ev": -6.0} for i in range(count)])


def source(some: Molecules, batch_size: int, seed: int, noise: float = 0.015) -> MixedSource:
    return MixedSource({"qm9": Share(some, 1.0, noise)}, batch_size=batch_size, seed=seed, device="cpu")


def names(batch: Batch) -> list[int]:
    return sorted(int(gap) for part in batch.parts for gap in part.labels["gap"])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 400), st.integers(1, 5))
def test_a_step_has_one_batch_however_it_is_shared(step: int, ranks: int) -> None:
    some = molecules(200)
    whole = source(some, 16, 4).batch(step)
    again = source(some, 16, 4)
    shares = [again.batch(step, rank=rank, size=ranks) for rank in range(ranks)]
    assert sorted(name for share in shares for name in names(share)) == names(whole)
    together = np.concatenate([share.parts[0].graph.coordinates.numpy() for share in shares])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(whole.parts[0].graph.coordinates.numpy(), axis=0))


def test_an_epoch_sees_every_molecule_once_and_the_next_in_another_order() -> None:
    one = source(molecules(100), 8, 1)
    first = [names(one.batch(step)) for step in range(25)]  # two epochs
    assert sorted(itertools.chain(*first)) == sorted([*range(100), *range(100)])
    order = [one.chosen(0, step).tolist() for step in range(25)]
    assert list(itertools.chain(*order))[:100] != list(itertools.chain(*order))[100:]


def test_unequal_sources_have_their_share_of_every_batch(small: SimpleNamespace) -> None:
    mixed = MixedSource(
        {
            "qm9": Share(molecules(300), 0.5, 0.0),
            "qm9_gfn2": Share(molecules(20, first=1000), 0.3, 0.0),
            "gfn2": Share(small.labelled(12, forces=True), 0.2, 0.0),
        },
        batch_size=10,
        seed=0,
        device="cpu",
    )
    seen = []
    for step in range(10):
        batch = mixed.batch(step)
        plain, with_forces = batch.parts
        gaps = names(Batch((plain,)))
        assert sum(gap < 1000 for gap in gaps) == 5
        assert len(with_forces) == 2
        assert "gfn2_forces" in with_forces.labels
        assert "gfn2_forces" not in plain.labels
        assert plain.heads == ("gap", "homo", "lumo")
        assert set(with_forces.heads) == {"gfn2_gap", "gfn2_energy", "gfn2_forces"}
        seen += [gap for gap in gaps if gap >= 1000]
    assert np.ptp(np.bincount(np.array(seen) - 1000, minlength=20)) <= 1  # the small one goes round and round


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6), st.integers(10, 1000))
def test_shares_add_up(shares: list[float], total: int) -> None:
    counts = apportion(shares, total)
    assert sum(counts) == total
    exact = np.array(shares) / sum(shares) * total
    assert (np.abs(counts - exact) < 1).all()


def test_noise_is_as_wide_as_asked_and_differs_from_step_to_step() -> None:
    one = molecules(1)
    noisy = source(one, 1, 0, noise=0.02)
    moves = np.concatenate(
        [noisy.batch(step).parts[0].graph.coordinates.numpy() - one.coordinates for step in range(200)]
    )
    assert moves.std() == pytest.approx(0.02, rel=0.1)
    np.testing.assert_array_equal(source(one, 1, 0, 0.0).batch(3).parts[0].graph.coordinates, one.coordinates)


@pytest.mark.parametrize(("fraction", "fresh"), [(0.0, 16), (0.5, 8), (0.75, 4), (0.99, 1)])
def test_replay_fraction_of_every_batch_is_old(fraction: float, fresh: int) -> None:
    new = from_geometries([(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))] * 3, [{"gap_ev": 1000.0}] * 3)
    given_: dict[str, Any] = {"batch_size": 16, "replay_fraction": fraction, "seed": 0, "device": "cpu"}
    replay = ReplaySource([new], molecules(100), **given_)
    for step in range(3):
        shares = [replay.batch(step, rank=rank, size=2) for rank in range(2)]
        gaps = [name for share in shares for name in names(share)]
        assert gaps.count(1000) == fresh
        assert len(gaps) == 16
    again = ReplaySource([new], molecules(100), **given_)
    np.testing.assert_array_equal(replay.batch(5).parts[0].graph.coordinates, again.batch(5).parts[0].graph.coordinates)


def test_what_cannot_be_batched_is_refused(small: SimpleNamespace) -> None:
    few = molecules(4)
    with pytest.raises(InputError, match="batch_size 5 wants 5 molecules of qm9, which has 4"):
        source(few, 5, 0)
    with pytest.raises(InputError, match="batch_size 1 is too small for the share of source gfn2"):
        MixedSource({"qm9": Share(few, 1.0, 0.0), "gfn2": Share(few, 0.1, 0.0)}, batch_size=1, seed=0, device="cpu")
    with pytest.raises(InputError, match="source qm9 holds no molecules"):
        source(from_geometries([]), 1, 0)
    given_: dict[str, Any] = {"batch_size": 2, "seed": 0, "device": "cpu"}
    with pytest.raises(InputError, match="at least one label"):
        ReplaySource([from_geometries([])], few, replay_fraction=0.5, **given_)
    with pytest.raises(InputError, match=r"replay_fraction .* got 1"):
        ReplaySource([few], few, replay_fraction=1.0, **given_)


def test_members_see_different_bootstraps_with_mean_one() -> None:
    weights = bootstrap_weights(20_000, 0)[:, :16]
    np.testing.assert_allclose(weights.mean(0), 1.0, atol=0.05)
    assert np.abs(np.corrcoef(weights.T) - np.eye(16)).max() < 0.05
    np.testing.assert_array_equal(weights, bootstrap_weights(20_000, 0)[:, :16])
    assert (bootstrap_weights(3, 0, bootstrap=False) == np.ones((3, MOST_MEMBERS))).all()


def test_take_and_join_keep_atoms_with_their_molecule(small: SimpleNamespace) -> None:
    some, other = small.labelled(10), small.labelled(3, forces=True)
    both = joined([some.take(np.array([7, 2])), other.take(np.array([1]))])
    assert both.sizes.tolist() == [*some.sizes[[7, 2]].tolist(), int(other.sizes[1])]
    charges, forces, own = both.node["mulliken_charge"], both.node["gfn2_forces"], some.node["mulliken_charge"]
    first = both.sizes[0]
    np.testing.assert_array_equal(charges[:first], own[some.offsets[7] : some.offsets[8]])
    assert np.isnan(charges[-both.sizes[2] :]).all()
    assert np.isnan(forces[:first]).all()
    assert np.isfinite(forces[-both.sizes[2] :]).all()
    assert set(both.labelled()) == {*some.labelled(), *other.labelled()}
    assert both.only(("gap", "gfn2_energy")).labelled() == ("gap", "gfn2_energy")


def test_composition_counts_atoms() -> None:
    water, methane = (
        (np.array([8, 1, 1]), np.eye(3)),
        (np.array([6, 1, 1, 1, 1]), np.eye(5)[:, :3] * 3 + np.eye(5, 3, -2)),
    )
    counts = from_geometries([water, methane]).composition(9)
    assert counts[0, 8] == 1
    assert counts[0, 1] == 2
    assert counts[1, [1, 6]].tolist() == [4, 1]


def test_pairs_are_all_within_a_molecule_and_no_others() -> None:
    sizes = np.array([3, 1, 4])
    found = graph(torch.ones(8, dtype=torch.long), torch.randn(8, 3), sizes)
    expected = [
        (start + i, start + j) for start, n in ((0, 3), (3, 1), (4, 4)) for i in range(n) for j in range(n) if i != j
    ]
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert found.molecule.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert found.largest == 4


def test_methane_has_its_atomization_energy() -> None:
    free = qm9_source.FREE_ATOMS_HARTREE
    assert (-40.47893 - free[6] - 4 * free[1]) * 27.211386 == pytest.approx(-17.172, abs=1e-3)  # QM9's first molecule


@pytest.mark.parametrize(
    ("numbers", "coordinates", "message"),
    [
        ([6, 8], [[0, 0, 0], [0, 0, np.inf]], "molecule 1: coordinates hold values that are not finite"),
        (
            [6, 8],
            [[0, 0, 0], [0, 0, 0]],
            r"molecule 1: atoms 1 and 2 \(C and O; the first is 1\) are 0.000 angstrom apart",
        ),
        ([6, 8], [[0, 0, 0]], "must be"),
        ([], np.zeros((0, 3)), "molecule 1: no atoms"),
    ],
)
def test_broken_geometries_are_refused(numbers: list[int], coordinates: object, message: str) -> None:
    good = np.array([6, 8]), np.array([[0, 0, 0], [0, 0, 1.13]])
    with pytest.raises(InputError, match=message):
        from_geometries([good, (np.array(numbers, dtype=np.int64), np.array(coordinates, dtype=np.float64))])
