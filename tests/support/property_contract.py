"""What every property must do; a plug-in's test inherits it and gives one example."""

import keyword
import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import pytest

from gapsmith.core import properties
from gapsmith.core.properties import Estimate, Property


class PropertyContract:
    """Tests of one property."""

    @property
    @abstractmethod
    def subject(self) -> Property:
        """The property."""

    @property
    @abstractmethod
    def example(self) -> tuple[Mapping[str, Any], float]:
        """A calculation's result, and the value that follows from it."""

    def test_it_is_registered_under_its_name(self) -> None:
        assert type(properties.registered()[self.subject.name]) is type(self.subject)

    def test_it_says_what_it_is(self) -> None:
        one = self.subject
        assert re.fullmatch(r"[a-z][a-z0-9_]*", one.name)
        assert one.column.isidentifier()
        assert not keyword.iskeyword(one.column)
        assert len(f"candidates_by_predicted_{one.column}_std") <= 63  # Postgres cuts longer names
        assert one.title
        assert one.symbol
        assert one.description

    def test_what_is_usual_is_possible(self) -> None:
        one = self.subject
        assert one.possible[0] <= one.usual[0] < one.usual[1] <= one.possible[1]

    def test_its_value_follows_from_a_result(self) -> None:
        result, value = self.example
        assert self.subject.computed(result) == pytest.approx(value)
        assert self.subject.possible[0] <= value <= self.subject.possible[1]

    def test_an_empty_result_has_no_value(self) -> None:
        assert self.subject.computed({}) is None

    def test_a_prediction_needs_all_heads_and_keeps_its_interval(self) -> None:
        heads = {name: Estimate(2.0, 0.5, 1.0, 3.0) for name in self.subject.needs}
        found = self.subject.predicted(heads)
        assert found is not None
        assert found.low < found.mean < found.high
        assert found.std > 0
        for name in heads:
            assert self.subject.predicted({key: value for key, value in heads.items() if key != name}) is None
