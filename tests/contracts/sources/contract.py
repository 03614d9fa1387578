"""What every source of training data must keep. A plug-in's test inherits ``SourceContract``."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from gapsmith.core.chemistry.geometry import fault
from gapsmith.core.errors import InputError
from gapsmith.core.units import UNITS
from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import SPLITS, Source, find, registered
from gapsmith.surrogate.quantities import quantity

Parts = dict[str, Molecules]
MOST = 500  # molecules that are looked at one by one


class SourceContract:
    """Inherit it and say what the source is called; ``NAME:ARGUMENT`` if it takes an argument."""

    source: str

    @pytest.fixture
    def one(self) -> Source:
        """The source, found as every configuration finds it."""
        return find(self.source)

    @pytest.fixture
    def parts(self, one: Source) -> Parts:
        """All splits."""
        found = {split: molecules for split in SPLITS if (molecules := one.load(split)) is not None}
        assert "train" in found
        return found

    def test_it_is_registered_and_says_where_it_comes_from(self, one: Source) -> None:
        assert registered()[self.source.partition(":")[0]] is type(one)
        assert all((one.title, one.origin, one.licence, one.advice.format(split="train")))

    def test_its_labels_have_units_that_other_sources_agree_with(self, one: Source) -> None:
        assert one.labels
        for name, label in one.labels.items():
            assert label.level
            assert UNITS[label.unit].dimension == label.dimension == quantity(name).dimension
            assert label.form == quantity(name).form

    def test_its_molecules_are_whole(self, one: Source, parts: Parts) -> None:
        for molecules in parts.values():
            assert len(molecules) > 0
            assert molecules.offsets[0] == 0
            assert (molecules.sizes > 0).all()
            atoms = int(molecules.offsets[-1])
            assert molecules.numbers.shape == (atoms,)
            assert molecules.coordinates.shape == (atoms, 3)
            for first, last in list(pairwise(molecules.offsets))[:MOST]:
                assert fault(molecules.numbers[first:last], molecules.coordinates[first:last]) is None

    def test_its_labels_belong_to_molecules_or_atoms_and_are_possible(self, one: Source, parts: Parts) -> None:
        for molecules in parts.values():
            assert set(molecules.labelled()) <= one.labels.keys()
            for name, values in molecules.labels.items():
                label, rows = one.labels[name], {"graph": len(molecules), "node": len(molecules.numbers)}
                assert name in {"graph": molecules.graph, "node": molecules.node}[label.kind]
                assert values.shape == (rows[label.kind], *((3,) if label.form == "forces" else ()))
                assert not np.isinf(values).any()
                assert (values[np.isfinite(values)] >= label.least).all()

    def test_gaps_are_in_the_unit_that_it_says(self, one: Source, parts: Parts) -> None:
        if "gap" in one.labels:
            gaps_ev = parts["train"].target("gap") * UNITS[one.labels["gap"].unit].in_base
            assert 0.1 < np.nanmedian(gaps_ev) < 20

    def test_its_splits_share_no_geometry(self, parts: Parts) -> None:
        geometries = [
            {
                molecules.numbers[first:last].tobytes() + molecules.coordinates[first:last].tobytes()
                for first, last in pairwise(molecules.offsets)
            }
            for molecules in parts.values()
        ]
        assert all(one.isdisjoint(other) for one, other in combinations(geometries, 2))

    def test_its_data_are_the_same_each_time_and_a_card_names_them(self, one: Source, parts: Parts) -> None:
        again = one.load("train")
        assert again is not None
        found, other = one.about("train", parts["train"]), one.about("train", again)
        assert found == other
        assert found["molecules"] == len(again)
        assert len(found["sha256"]) == 64
        fewer = again.take(np.arange(len(again) - 1)) if len(again) > 1 else again.only(())
        assert fewer.sha256() != found["sha256"]

    def test_it_has_no_other_splits(self, one: Source) -> None:
        try:
            assert one.load("no such split") is None
        except InputError as error:
            assert "no such split" in str(error)  # noqa: PT017
