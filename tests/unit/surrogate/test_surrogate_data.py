"""Batches: pure functions of the step, shares of ranks, replay, and what a geometry must be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapsmith.core.errors import InputError
from gapsmith.surrogate.data import (
    NOISE_ANGSTROM,
    Batch,
    Molecules,
    ReplaySource,
    TrainingSource,
    bootstrap_weights,
    from_geometries,
    joined,
)


def molecules(count: int, seed: int = 0, homo: bool = True) -> Molecules:
    """Chains of carbon of random length; the gap is the molecule's number, so that it can be told again."""
    sizes = np.random.default_rng(seed).integers(3, 20, count)
    geometries = [
        (np.full(n, 6), np.stack([np.arange(n) * 1.5, np.zeros(n), np.zeros(n)], axis=1)) for n in sizes.tolist()
    ]
    known = {"homo_ev": -6.0} if homo else {}
    return from_geometries(geometries, [{"gap_ev": float(index), **known} for index in range(count)])


def names(batch: Batch) -> list[int]:
    return sorted(int(gap) for gap in batch.targets[:, 1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 400), st.integers(1, 5))
def test_a_step_has_one_batch_however_it_is_shared(step: int, ranks: int) -> None:
    whole = TrainingSource(molecules(200), batch_size=16, seed=4, device="cpu").batch(step)
    source = TrainingSource(molecules(200), batch_size=16, seed=4, device="cpu")
    shares = [source.batch(step, rank=rank, size=ranks) for rank in range(ranks)]
    assert sorted(name for share in shares for name in names(share)) == names(whole)
    together = np.concatenate([share.coordinates.numpy() for share in shares])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(whole.coordinates.numpy(), axis=0))


def test_an_epoch_sees_every_molecule_once_and_the_next_in_another_order() -> None:
    source = TrainingSource(molecules(96), batch_size=8, seed=1, device="cpu")
    first = [names(source.batch(step)) for step in range(12)]
    assert sorted(itertools.chain(*first)) == list(range(96))
    assert first != [names(source.batch(step)) for step in range(12, 24)]


def test_batches_hold_molecules_of_like_size() -> None:
    source = TrainingSource(molecules(512), batch_size=8, seed=1, device="cpu")
    spans = [np.ptp(np.bincount(source.batch(step).molecule.numpy())) for step in range(20)]
    assert np.mean(spans) < 1.5


def test_noise_is_small_and_differs_from_step_to_step() -> None:
    one = molecules(1)
    source = TrainingSource(one, batch_size=1, seed=0, device="cpu")
    moves = np.concatenate([source.batch(step).coordinates.numpy() - one.coordinates for step in range(300)])
    assert moves.std() == pytest.approx(NOISE_ANGSTROM, rel=0.1)


@pytest.mark.parametrize(("fraction", "fresh"), [(0.0, 16), (0.5, 8), (0.75, 4), (0.99, 1)])
def test_replay_fraction_of_every_batch_is_old(fraction: float, fresh: int) -> None:
    new = from_geometries([(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))] * 3, [{"gap_ev": 1000.0}] * 3)
    source = ReplaySource(new, molecules(100), batch_size=16, replay_fraction=fraction, seed=0, device="cpu")
    for step in range(3):
        shares = [source.batch(step, rank=rank, size=2) for rank in range(2)]
        gaps = [name for share in shares for name in names(share)]
        assert gaps.count(1000) == fresh
        assert len(gaps) == 16
    again = ReplaySource(new, molecules(100), batch_size=16, replay_fraction=fraction, seed=0, device="cpu")
    np.testing.assert_array_equal(source.batch(5).coordinates, again.batch(5).coordinates)


def test_what_cannot_be_batched_is_refused() -> None:
    few = molecules(4)
    with pytest.raises(InputError, match="batch_size 5 must be between 1 and the 4 molecules"):
        TrainingSource(few, batch_size=5, seed=0, device="cpu")
    with pytest.raises(InputError, match="at least one label"):
        ReplaySource(from_geometries([]), few, batch_size=2, replay_fraction=0.5, seed=0, device="cpu")
    with pytest.raises(InputError, match=r"replay_fraction .* got 1"):
        ReplaySource(few, few, batch_size=2, replay_fraction=1.0, seed=0, device="cpu")


def test_members_see_different_bootstraps_with_mean_one() -> None:
    weights = bootstrap_weights(20_000, 0)
    np.testing.assert_allclose(weights.mean(0), 1.0, atol=0.05)
    assert np.abs(np.corrcoef(weights.T) - np.eye(16)).max() < 0.05
    np.testing.assert_array_equal(weights, bootstrap_weights(20_000, 0))


def test_take_and_join_keep_atoms_with_their_molecule() -> None:
    some = molecules(10)
    both = joined(some.take(np.array([7, 2])), some.take(np.array([4])))
    assert both.targets[:, 1].tolist() == [7, 2, 4]
    assert both.sizes.tolist() == some.sizes[[7, 2, 4]].tolist()
    np.testing.assert_array_equal(both.coordinates[-both.sizes[2] :, 0], np.arange(both.sizes[2]) * np.float32(1.5))


@pytest.mark.parametrize(
    ("numbers", "coordinates", "message"),
    [
        ([6, 17], [[0, 0, 0], [0, 0, 1.7]], r"molecule 1: atomic numbers \[17\] are unknown"),
        ([6, 8], [[0, 0, 0], [0, 0, np.inf]], "molecule 1: coordinates hold values that are not finite"),
        ([6, 8], [[0, 0, 0], [0, 0, 0]], "molecule 1: atoms 0 and 1 are 0.000 angstrom apart"),
        ([6, 8], [[0, 0, 0]], "must be"),
        ([], np.zeros((0, 3)), "must be"),
    ],
)
def test_broken_geometries_are_refused(numbers: list[int], coordinates: object, message: str) -> None:
    good = np.array([6, 8]), np.array([[0, 0, 0], [0, 0, 1.13]])
    with pytest.raises(InputError, match=message):
        from_geometries([good, (np.array(numbers, dtype=np.int64), np.array(coordinates, dtype=np.float64))])
