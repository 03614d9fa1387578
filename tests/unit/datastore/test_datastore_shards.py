"""Shards: a round trip changes nothing, an old data set is replaced whole, damage is found and named."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sampled import examples

from gapsmith.core.errors import DataError, InputError
from gapsmith.datastore import shards
from gapsmith.datastore.ragged import Ragged, joined
from gapsmith.datastore.shards import Index, write_shards

SIZES = st.lists(st.integers(0, 5), min_size=1, max_size=12)
QUICK = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damage(path: Path, place: int = -3) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@QUICK
@given(SIZES, st.integers(1, 13), st.data())
def test_any_split_into_pieces_and_shards_comes_back(
    make: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], size: int, data: st.DataObject
) -> None:
    whole = make.samples(sizes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sizes)), max_size=4)))
    edges = [0, *cuts, len(sizes)]
    pieces = (whole.between(a, b) for a, b in pairwise(edges))
    index = write_shards(tmp_path_factory.mktemp("trip"), pieces, size)
    assert [shard.samples for shard in index.shards[:-1]] == [size] * (len(index.shards) - 1)
    assert index.sizes.tolist() == sizes
    make.same(joined([index.load(number) for number in range(len(index.shards))]), whole)


@QUICK
@given(SIZES, st.data())
def test_take_is_one_sample_after_another(make: SimpleNamespace, sizes: list[int], data: st.DataObject) -> None:
    whole = make.samples(sizes)
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=8))
    make.same(whole.take(np.array(chosen, np.int64)), make.picked(whole, chosen))


def test_the_index_says_what_there_is(index: Index, whole: Ragged) -> None:
    again = Index.read(index.folder)
    assert (again.digest, again.name, again.about) == (index.digest, index.folder.name, {"source": "made up"})
    assert again.schema == whole.schema
    assert again.schema["coordinates"].shape == (3,)
    assert again.sizes.dtype == np.uint8
    assert len(again) == 83


def test_a_new_data_set_replaces_the_old_one_and_its_files(make: SimpleNamespace, folder: Path) -> None:
    old = write_shards(folder, [make.samples([3] * 20, seed=1)], 4)
    new = write_shards(folder, [make.samples([2] * 9, seed=2)], 4)
    assert old.digest != new.digest
    assert len(Index.read(folder)) == 9
    assert len(list(folder.glob("*.safetensors"))) == len(new.shards) + 1
    assert not list(folder.glob(".*.partial"))


def test_a_writer_that_fails_leaves_the_old_data_set(
    make: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make.samples([3] * 20, seed=1)
    write_shards(folder, [old], 4)

    def full_disk(arrays: dict[str, np.ndarray], path: str) -> None:
        if "00002" in path:
            raise OSError(28, "No space left on device")
        save_file(arrays, path)

    monkeypatch.setattr(shards, "save_file", full_disk)
    with pytest.raises(DataError, match=r"No space left on device.*is the disk full"):
        write_shards(folder, [make.samples([2] * 20, seed=2)], 4)
    index = Index.read(folder)
    make.same(joined([index.load(number) for number in range(len(index.shards))]), old)


@pytest.mark.parametrize("place", [3, 12, -1])  # length of the header, header, data
def test_a_damaged_shard_is_named(make: SimpleNamespace, folder: Path, place: int) -> None:
    index = write_shards(folder, [make.samples([3] * 20)], 5)
    damage(folder / index.shards[2].file, place)
    assert len(index.load(1)) == 5
    with pytest.raises(DataError, match=rf"{index.shards[2].file} is damaged: its SHA-256"):
        index.load(2)


def test_what_is_cut_off_missing_or_no_index_is_named(make: SimpleNamespace, folder: Path) -> None:
    index = write_shards(folder, [make.samples([3] * 20)], 5)
    first, second = (folder / shard.file for shard in index.shards[:2])
    first.write_bytes(first.read_bytes()[:-10])
    second.unlink()
    with pytest.raises(DataError, match=rf"{first.name} is damaged"):
        index.load(0)
    with pytest.raises(DataError, match=rf"{second.name} is missing"):
        index.load(1)
    first.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{first.name} cannot be read"):
        index.load(0)
    for text in (b"", b"[]", b'{"format": 1}', (folder / "index.json").read_bytes()[:-40]):
        (folder / "index.json").write_bytes(text)
        with pytest.raises(DataError, match=r"index.json is damaged"):
            Index.read(folder)
    (folder / "index.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="format 99"):
        Index.read(folder)
    with pytest.raises(DataError, match="holds no whole data set"):
        Index.read(folder / "nowhere")


def test_impossible_samples_are_refused(make: SimpleNamespace, folder: Path) -> None:
    some = make.samples([1, 2])
    other = Ragged.of(some.offsets, per_sample={"targets": np.zeros(2)}, per_atom={})
    with pytest.raises(InputError, match="differ in the kind of their arrays"):
        write_shards(folder, [some, other], 2)
    with pytest.raises(InputError, match="no samples"):
        write_shards(folder, [], 2)
    with pytest.raises(InputError, match="shard_size must be at least 1"):
        write_shards(folder, [some], 0)
    with pytest.raises(InputError, match=r"\['names'\] cannot be stored"):
        write_shards(folder, [Ragged.of(some.offsets, per_sample={"names": np.array(["a", "b"])}, per_atom={})], 2)
    with pytest.raises(InputError, match="first dimension must be 3"):
        Ragged.of(some.offsets, per_sample={}, per_atom={"numbers": np.zeros(2)})
    with pytest.raises(InputError, match="never fall"):
        Ragged.of(np.array([0, 2, 1]), per_sample={}, per_atom={})
    assert not (folder / "index.json").exists()
