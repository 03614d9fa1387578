"""Batches out of data stores are those of molecules in memory, and bootstrap weights are a function of the molecule."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from gapsmith.core.errors import InputError
from gapsmith.data.molecules import Molecules, joined
from gapsmith.datastore.ragged import Ragged
from gapsmith.datastore.shards import Index
from gapsmith.datastore.store import DiskStore, Prefetched, WholeStore
from gapsmith.surrogate import batches
from gapsmith.surrogate.batches import MOST_MEMBERS, Batch, MixedSource, Part, Resident, Share
from gapsmith.surrogate.stored import Stored, StoredShare, StoredSource, drawn_weights, labelled, write_molecules


def same(one: Part, other: Part) -> None:
    """Fail unless two parts are equal in every bit."""
    assert one.heads == other.heads
    for a, b in [
        *((one.labels[name], other.labels[name]) for name in {*one.labels, *other.labels}),
        (one.weights, other.weights),
        *((getattr(one.graph, name), getattr(other.graph, name)) for name in ("numbers", "coordinates", "sizes")),
        *((getattr(one.graph, name), getattr(other.graph, name)) for name in ("molecule", "first", "second")),
    ]:
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def stored(folder: Path, molecules: Molecules, share: float, noise: float) -> StoredShare:
    index = write_molecules(folder, [molecules], 5)
    return StoredShare(WholeStore(index), labelled(index), share, noise)


@pytest.mark.parametrize("bootstrap", [True, False])
def test_a_part_is_that_of_molecules_in_memory(small: SimpleNamespace, tmp_path: Path, bootstrap: bool) -> None:
    one, two = small.labelled(23), small.labelled(9, seed=5)
    two = Molecules(two.offsets, two.numbers, two.coordinates, two.graph)  # no charges
    weights = [drawn_weights(np.arange(len(x)), seed) for x, seed in ((one, 3), (two, 4))]
    resident = Resident(
        joined([one, two]),
        np.repeat([0.02, 0.01], [23, 9]),
        bootstrap=np.concatenate(weights) if bootstrap else np.ones((32, MOST_MEMBERS), np.float32),
        device="cpu",
    )
    shares = [stored(tmp_path / "one", one, 1.0, 0.02), stored(tmp_path / "two", two, 1.0, 0.01)]
    gathered = Stored(shares, seeds=[3, 4], bootstrap=bootstrap, device="cpu")
    draw = np.random.default_rng(0)
    for seed in range(10):
        chosen = draw.permutation(32)[: int(draw.integers(3, 12))]
        for size in (1, 2, 3):
            for rank in range(size):
                same(
                    gathered.part(chosen, seed, rank=rank, size=size), resident.part(chosen, seed, rank=rank, size=size)
                )


def test_a_source_gives_the_batches_of_a_mixed_source(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(molecules: int, seed: int, *, bootstrap: bool = True) -> np.ndarray:
        return drawn_weights(np.arange(molecules), seed)

    monkeypatch.setattr(batches, "bootstrap_weights", drawn)
    sets = {"qm9": small.labelled(20), "gfn2": small.labelled(14, seed=2, forces=True)}
    mixed = MixedSource(
        {name: Share(x, 1.0, 0.01) for name, x in sets.items()}, batch_size=6, seed=11, device="cpu", bootstrap=True
    )
    shares = {name: stored(tmp_path / name, x, 1.0, 0.01) for name, x in sets.items()}
    plain = StoredSource(shares, batch_size=6, seed=11, device="cpu")
    ahead = {
        name: StoredShare(Prefetched(x.store), x.labelled, x.share, x.noise_angstrom) for name, x in shares.items()
    }
    fetching = StoredSource(ahead, batch_size=6, seed=11, device="cpu")
    for step in (0, 1, 2, 7, 30, 31):
        for rank, size in ((0, 1), (0, 2), (1, 2)):
            wanted: Batch = mixed.batch(step, rank=rank, size=size)
            for source in (plain, fetching):
                found = source.batch(step, rank=rank, size=size)
                assert len(found.parts) == len(wanted.parts) == 2
                for a, b in zip(found.parts, wanted.parts, strict=True):
                    same(a, b)
    for share in ahead.values():
        share.store.close()


def test_the_step_after_is_fetched_beforehand(small: SimpleNamespace, tmp_path: Path) -> None:
    index = write_molecules(tmp_path, [small.labelled(20)], 4)
    asked: list[list[int]] = []

    class Watched(DiskStore):
        def fetch(self, indices: np.ndarray) -> Ragged:
            asked.append(indices.tolist())
            return super().fetch(indices)

    store = Prefetched(Watched(index))
    source = StoredSource({"qm9": StoredShare(store, labelled(index), 1.0, 0.0)}, batch_size=4, seed=0, device="cpu")
    for step in range(5):
        source.batch(step)
    store.close()
    assert [sorted(x) for x in asked[:5]] == [sorted(source.chosen(0, step).tolist()) for step in range(5)]
    assert len(asked) <= 6  # nothing twice


def test_weights_are_independent_exponentials_of_mean_one() -> None:
    weights = drawn_weights(np.arange(3000), 1)
    assert weights.shape == (3000, MOST_MEMBERS)
    assert weights.dtype == np.float32
    assert stats.kstest(weights.ravel().astype(np.float64), "expon").pvalue > 1e-3
    for other in (weights[:, 1], np.roll(weights[:, 0], 1), drawn_weights(np.arange(3000), 2)[:, 0]):
        assert abs(np.corrcoef(weights[:, 0], other)[0, 1]) < 0.06
    some = np.array([7, 2999, 7])
    np.testing.assert_array_equal(drawn_weights(some, 1), weights[some])


def test_labels_are_known_without_reading_the_shards(small: SimpleNamespace, tmp_path: Path) -> None:
    names = ("gap", "homo", "mulliken_charge")
    one, two = small.labelled(6).only(names), small.labelled(6).only(names)
    one.graph["homo"][:], two.graph["gap"][:] = np.nan, np.nan
    index = write_molecules(tmp_path, iter([one, two]), 4)
    for file in tmp_path.glob("shard-*"):
        file.unlink()
    assert set(labelled(Index.read(index.folder))) == {"gap", "homo", "mulliken_charge"}
    with pytest.raises(InputError, match="kind of their arrays"):
        write_molecules(tmp_path, [one, small.labelled(3, forces=True)], 3)
