"""A package that adds an engine by an entry point alone keeps the contract, and its levels are computed."""

from collections.abc import Iterator
from pathlib import Path

import installed
import pytest
from tests.contracts.engines.contract import DISTORTED, WATER, EngineContract, job

from gapsmith.core.errors import InputError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.dft_queue.compute import compute
from gapsmith.dft_queue.engines import find, names

SOURCE = Path(__file__).with_name("springs.py").read_text()


@pytest.fixture(autouse=True, scope="module")
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package on the path of this process, as long as the tests of this module run."""
    site = tmp_path_factory.mktemp("plugin") / "site"
    with pytest.MonkeyPatch.context() as patch:
        assert "springs" not in names()
        patch.syspath_prepend(str(installed.install(site, "springs", SOURCE, "gapsmith.engines", "SpringEngine")))
        yield
    find.cache_clear()


class TestSprings(EngineContract):
    """The plug-in's."""

    level = LevelOfTheory(name="contract-springs", engine="springs", method="springs")


def test_a_calculation_says_what_computed_it(tmp_path: Path) -> None:
    output = compute(job(TestSprings.level, WATER), tmp_path)
    assert output.gap_ev == pytest.approx(10.0)
    assert output.software["springs"] == "1.0"
    assert output.energy_hartree == pytest.approx(
        find("springs").surface(job(TestSprings.level), 1).gradient(DISTORTED)[0]
    )


def test_an_unknown_engine_is_refused_with_those_that_are_installed() -> None:
    with pytest.raises(InputError, match=r"pyscf.*springs.*tblite"):
        find("spring")
