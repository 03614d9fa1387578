"""The sources of the installation keep the contract."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.contracts.sources.contract import SourceContract

from gapsmith.core.errors import DataError, InputError
from gapsmith.data import imported, label_sets
from gapsmith.data.imported import DataSet
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import SPLITS, Source, find, registered, split_by_hash
from gapsmith.factory.shipping import ship
from gapsmith.surrogate import displaced, relaxed

GENERATED = Path(__file__).parents[3] / "shared" / "labels" / "generated"
MUTATED = GENERATED.with_name("mutated")


class TestQm9(SourceContract):
    """QM9 at its own geometries."""

    source = "qm9"

    def test_it_has_the_numbers_that_were_published(self, one: Source) -> None:
        counts = {split: len(one.load(split) or ()) for split in (*SPLITS, "first", "second")}
        assert counts == {"train": 110_000, "validation": 10_000, "test": 10_831, "first": 50_000, "second": 50_000}
        test = one.load("test")
        assert test is not None
        assert np.allclose(test.target("lumo") - test.target("homo"), test.target("gap"), atol=5e-3)
        methane = test.sizes.min()
        assert methane >= 3
        assert -110 < np.median(test.target("atomization_energy")) < -50


class TestOutsideQm9(SourceContract):
    """Molecules outside QM9, as they are shipped."""

    source = "outside_qm9"

    @pytest.mark.parametrize("split", SPLITS)
    def test_what_is_shipped_is_what_the_label_sets_have(self, one: Source, split: str) -> None:
        shipped, sets = one.load(split), ship([one for one in (GENERATED, MUTATED) if one.is_dir()], split)
        assert shipped is not None
        labels = {geometry: values for geometry, *values in _geometries(sets)}
        assert all(labels[geometry] == pytest.approx(values, abs=1e-5) for geometry, *values in _geometries(shipped))

    @pytest.mark.parametrize("split", SPLITS)
    def test_its_electronic_structure_is_that_of_its_geometries(self, one: Source, split: str) -> None:
        shipped = one.load(split)
        assert shipped is not None
        last = shipped.take(np.arange(len(shipped))[-3:])
        again = replace(last, electronic=None).seen().electronic
        assert last.electronic is not None
        assert again is not None
        np.testing.assert_allclose(last.electronic.orbital_energies_ev, again.orbital_energies_ev, atol=1e-3)
        np.testing.assert_allclose(last.electronic.charges_e, again.charges_e, atol=1e-3)
        np.testing.assert_allclose(last.electronic.bond_orders, again.bond_orders, atol=1e-3)


def _geometries(molecules: Molecules) -> Iterator[tuple[bytes, float, float]]:
    gaps, dipoles = molecules.target("gap"), molecules.target("dipole")
    for place, (start, stop) in enumerate(pairwise(molecules.offsets)):
        yield molecules.coordinates[start:stop].tobytes(), float(gaps[place]), float(dipoles[place])


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A few molecules of every split, relaxed and displaced."""
    folder = tmp_path_factory.mktemp("chunks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relaxed, "CHUNK", 3)
        patch.setattr(relaxed, "folder", lambda split: folder / "relaxed" / split)
        patch.setattr(displaced, "folder", lambda split: folder / "displaced" / split)
        for split in SPLITS:
            relaxed.prepare_chunk(split, 0)
            displaced.prepare_chunk(split, 0)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("chunks")
class TestQm9Gfn2(SourceContract):
    """QM9 at GFN2-xTB geometries."""

    source = "qm9_gfn2"


@pytest.mark.slow
@pytest.mark.usefixtures("chunks")
class TestGfn2(SourceContract):
    """GFN2-xTB's own numbers."""

    source = "gfn2"


class TestLabelSet(SourceContract):
    """What the generator proposed, with labels."""

    source = f"label_set:{GENERATED}"

    def test_it_has_the_labels_of_its_level(self, one: Source) -> None:
        whole = label_sets.load(GENERATED)
        labels = whole.of_level("triage")
        assert labels is not None
        parts = [one.load(split) for split in SPLITS]
        gaps = np.concatenate([part.target("gap") for part in parts if part is not None])
        assert np.array_equal(np.sort(gaps), np.sort(labels.gap_ev[labels.there]))
        assert {label.level for label in one.labels.values()} == {"B3LYP/6-31G(2df,p)"}

    def test_what_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no labels of the level wide; its levels: triage"):
            find(f"label_set:{GENERATED}@wide")
        with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
            find(f"label_set:{tmp_path}")
        with pytest.raises(InputError, match="source label_set:"):
            find("label_set")


class TestImported(SourceContract):
    """What a person brought along."""

    source = "imported:ours"

    @pytest.fixture
    def one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
        """Forty molecules of QM9 with a label of a level of its own."""
        monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path))
        some = find("qm9").load("test")
        assert some is not None
        some = some.take(np.arange(40))
        molecules = Molecules(some.offsets, some.numbers, some.coordinates, {"gap@ours": some.target("gap")})
        keys = [f"{number:014d}-AAAAAAAAAA-N" for number in range(40)]
        card = {"head": "gap@ours", "property": "gap", "theory": "ours", "title": "gap of a.csv at ours"}
        card |= {"origin": "a.csv", "licence": "MIT", "file_sha256": "0" * 64}
        imported.write("ours", DataSet(card, molecules, keys, ["C"] * 40, imported.splits_of(keys, [None] * 40)), "")
        find.cache_clear()
        yield find(self.source)
        find.cache_clear()

    def test_its_card_names_the_file(self, one: Source, parts: dict[str, Molecules]) -> None:
        about = one.about("train", parts["train"])
        assert (about["name"], about["licence"], about["origin"]) == ("imported:ours", "MIT", "a.csv")
        assert about["levels"] == ["ours"]


def test_every_source_is_tested_here() -> None:
    assert set(registered()) == {"qm9", "outside_qm9", "qm9_gfn2", "gfn2", "label_set", "imported"}


def test_what_is_added_moves_nothing_to_another_split() -> None:
    keys = [f"molecule {number}" for number in range(3000)]
    few = {split: set(split_by_hash(keys[:1000], split).tolist()) for split in SPLITS}
    many = {split: set(split_by_hash(keys, split).tolist()) for split in SPLITS}
    assert sorted(place for part in many.values() for place in part) == list(range(3000))
    assert all(few[split] == {place for place in many[split] if place < 1000} for split in SPLITS)
    assert len(many["train"]) == pytest.approx(2400, abs=100)
    assert len(many["test"]) == pytest.approx(300, abs=60)
