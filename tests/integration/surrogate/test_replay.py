"""The electronic structure that is shipped is what GFN2-xTB gives for those molecules of QM9."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gapsmith.data.electronic_records import ElectronicRecords
from gapsmith.surrogate import electronic, relaxed


def test_what_is_shipped_is_not_replaced_by_what_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSMITH_CACHE", str(tmp_path))
    before = electronic.files("qm9", "train")
    assert before
    cached = electronic.folder("qm9", "train")
    cached.mkdir(parents=True)
    for first in (0, 109_000):
        (cached / f"{first:06d}.safetensors").touch()
    assert electronic.files("qm9", "train") == {**before, 109_000: cached / "109000.safetensors"}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shipped_electronic_structure_is_that_of_its_molecules(split: str) -> None:
    shipped = {int(file.stem): file for file in (electronic.SHIPPED / "qm9" / split).glob("*.safetensors")}
    assert len(shipped) * relaxed.CHUNK >= 1000
    first, file = max(shipped.items())
    kept = ElectronicRecords(**load_file(str(file)))
    some = relaxed.qm9(split).take(np.arange(first, first + 3))
    again = ElectronicRecords.of(some.offsets, some.numbers, some.coordinates)
    np.testing.assert_allclose(kept.orbital_energies_ev[:3], again.orbital_energies_ev, atol=1e-3)
    np.testing.assert_allclose(kept.charges_e[: len(some.numbers)], again.charges_e, atol=1e-3)
