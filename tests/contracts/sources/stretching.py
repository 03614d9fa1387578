"""A source that an installed plug-in could bring: carbon monoxide, stretched, with labels that are made up."""

from collections.abc import Mapping

import numpy as np

from gapsmith.data.molecules import Molecules
from gapsmith.data.sources import Label, Source, split_by_hash

COUNT = 400


class Stretched(Source):
    """The gap falls with the distance; ``strain`` is a quantity that no other source has."""

    name, title, licence = "stretched", "Stretched carbon monoxide", "CC0-1.0"
    origin = "made up"
    labels: Mapping[str, Label] = {
        "gap": Label("hartree", "by hand", least=0.0),
        "strain": Label("meV", "by hand", least=0.0),
    }

    def load(self, split: str) -> Molecules:
        """Distances from 1 to 2 angstrom; raises InputError if there is no such split."""
        distance = 1 + split_by_hash([str(place) for place in range(COUNT)], split) / COUNT
        coordinates = np.zeros((len(distance), 2, 3), np.float32)
        coordinates[:, 1, 2] = distance
        return Molecules(
            2 * np.arange(len(distance) + 1),
            np.tile(np.array([6, 8], np.uint8), len(distance)),
            coordinates.reshape(-1, 3),
            {"gap": (12 - 3 * distance) / 27.211386, "strain": 1000 * (distance - 1) ** 2},
        )
