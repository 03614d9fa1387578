"""The electronic structure that is shipped is what GFN2-xTB gives for those molecules of QM9."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from gapsmith.data.electronic_records import ElectronicRecords
from gapsmith.surrogate import electronic, relaxed


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shipped_electronic_structure_is_that_of_its_molecules(split: str) -> None:
    shipped = {
        first: file for first, file in electronic.files("qm9", split).items() if electronic.SHIPPED in file.parents
    }
    assert len(shipped) * relaxed.CHUNK >= 1000
    first, file = max(shipped.items())
    kept = ElectronicRecords(**load_file(str(file)))
    some = relaxed.qm9(split).take(np.arange(first, first + 3))
    again = ElectronicRecords.of(some.offsets, some.numbers, some.coordinates)
    np.testing.assert_allclose(kept.orbital_energies_ev[:3], again.orbital_energies_ev, atol=1e-3)
    np.testing.assert_allclose(kept.charges_e[: len(some.numbers)], again.charges_e, atol=1e-3)
