"""Writes label sets: whole shards, each added to the manifest and the card at once, so that a set can always be read."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import DataError, InputError
from gapsmith.core.levels import GFN2, LevelOfTheory
from gapsmith.data.label_sets import (
    FORMAT,
    LABELS,
    MANIFEST,
    MOLECULES,
    Columns,
    as_text,
    in_angstrom,
    load,
    read_manifest,
)
from gapsmith.factory.making import Chunk, Made
from gapsmith.training.files import write_atomically

MOST_BYTES: Final = 3_000_000  # of a shard
Key = tuple[str, str]  # InChIKey and geometry hash


@dataclass(frozen=True)
class Label:
    """One DFT result, or why there is none."""

    inchikey: str
    geometry: str
    homo_ev: float = float("nan")
    lumo_ev: float = float("nan")
    energy_hartree: float = float("nan")
    dipole_debye: float = float("nan")
    mulliken_e: Sequence[float] = ()
    cpu_s: float = 0.0
    rung: str = ""
    failure: str = ""


class LabelSetWriter:
    """A set that is added to.

    Args:
        folder: of the set; made if it is not there.
        pool: where its molecules come from.
        seed: of the pool.
        provenance: versions and hashes that decide which molecules come out.

    Raises:
        InputError: the set was begun with another pool, seed, or file or weights of the pool.
        DataError: the set is damaged.
    """

    def __init__(self, folder: Path, *, pool: str, seed: int, provenance: Mapping[str, str]) -> None:
        self.folder = folder
        if (folder / MANIFEST).is_file():
            self.manifest = read_manifest(folder)
            begun = self.manifest["pool"]
            if (begun["name"], begun["seed"]) != (pool, seed):
                raise InputError(
                    f"{folder} was begun with pool {begun['name']} and seed {begun['seed']}, not {pool} and {seed}; give the "
                    "new set another name"
                )
            for key in [key for key in provenance if key.endswith("sha256")]:
                if (before := begun["provenance"].get(key)) != provenance[key]:
                    raise InputError(
                        f"{folder} was begun with {key} {before}, now it is {provenance[key]}, so other molecules would come "
                        "out; give the new set another name"
                    )
            begun["provenance"] |= provenance
        else:
            self.manifest = {
                "format": FORMAT,
                "name": folder.name,
                "pool": {
                    "name": pool,
                    "seed": seed,
                    "next_chunk": 0,
                    "exhausted": False,
                    "provenance": dict(provenance),
                },
                "refused": {},
                "cpu_s": 0.0,
                "levels": {},
                "shards": [],
            }
        self.molecules: dict[Key, Molecule] = {}  # in the order of the set
        self.labelled: dict[str, set[Key]] = {}  # by version of the level, failures included
        self._read()

    def _read(self) -> None:
        if not self.manifest["shards"]:
            return
        found = load(self.folder)
        columns = found.columns
        keys = [
            (key.decode(), geometry.decode())
            for key, geometry in zip(found.inchikeys.tolist(), found.geometries.tolist(), strict=True)
        ]
        for number, key in enumerate(keys):
            atoms = found.atoms(number)
            # float64 as when it was made, so that the queue recognises the geometry
            steps = np.round(columns["coordinates"][atoms].astype(np.float64) / in_angstrom(np.ones(1))[0])
            self.molecules[key] = Molecule(
                columns["numbers"][atoms], in_angstrom(steps), columns["formal_charges"][atoms], found.bonds(number)
            )
        for version, labels in found.labels.items():
            there = labels.there
            self.labelled[version] = {
                key for number, key in enumerate(keys) if there[number] or number in labels.failures
            }

    @property
    def inchikeys(self) -> frozenset[str]:
        """Of all molecules."""
        return frozenset(inchikey for inchikey, _ in self.molecules)

    def unlabelled(self, level: LevelOfTheory) -> list[tuple[Key, Molecule]]:
        """Molecules without a label at a level, in the order of the set."""
        done = self.labelled.get(level.identity(GFN2), set())
        return [(key, molecule) for key, molecule in self.molecules.items() if key not in done]

    def add_chunks(self, chunks: Sequence[Chunk]) -> int:
        """Add the molecules of consecutive chunks as one shard; returns how many were new."""
        known = set(self.inchikeys)
        new: list[Made] = []
        refused = Counter(self.manifest["refused"])
        for chunk in chunks:
            if chunk.exhausted:
                self.manifest["pool"]["exhausted"] = True
                continue
            refused += chunk.refused
            self.manifest["cpu_s"] += chunk.cpu_s
            self.manifest["pool"]["next_chunk"] = chunk.number + 1
            for made in chunk.made:
                if made.inchikey in known:
                    refused["duplicate"] += 1
                    continue
                known.add(made.inchikey)
                new.append(made)
        self.manifest["refused"] = dict(sorted(refused.items()))
        if new:
            self._add("molecules", None, molecule_columns(new), len(new))
            self.molecules |= {(made.inchikey, made.geometry): made.molecule for made in new}
        else:
            self._publish()
        return len(new)

    def add_labels(self, level: LevelOfTheory, labels: Sequence[Label], software: Mapping[str, str]) -> None:
        """Add labels of one level as a shard."""
        version = level.identity(GFN2)
        done = self.labelled.setdefault(version, set())
        new = [one for one in labels if (one.inchikey, one.geometry) not in done]
        if not new:
            return
        self.manifest["levels"].setdefault(version, level.model_dump(mode="json"))
        self._add("labels", version, label_columns(new), len(new), dict(software))
        done |= {(one.inchikey, one.geometry) for one in new}

    def _add(
        self, kind: str, level: str | None, columns: Columns, rows: int, software: Mapping[str, str] | None = None
    ) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **columns)
        content = buffer.getvalue()
        if len(content) > MOST_BYTES:
            raise DataError(
                f"a shard of {len(content)} bytes; at most {MOST_BYTES} are allowed: add fewer rows at once"
            )
        name = kind if level is None else f"{self.manifest['levels'][level]['name']}-{level[:6]}"
        number = sum(one["kind"] == kind and one["level"] == level for one in self.manifest["shards"])
        file = f"{name}-{number:05d}.npz"
        write_atomically(self.folder / file, content)
        self.manifest["shards"].append(
            {
                "file": file,
                "kind": kind,
                "level": level,
                "rows": rows,
                "cpu_s": round(float(columns["gfn2_cpu_s" if kind == "molecules" else "cpu_s"].sum()), 1),
                "failed": 0 if kind == "molecules" else int(np.isnan(columns["homo_ev"]).sum()),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "made": datetime.now(UTC).isoformat(timespec="seconds"),
                "software": dict(software or {}),
            }
        )
        self._publish()

    def _publish(self) -> None:
        from gapsmith.factory.card import card

        write_atomically(self.folder / MANIFEST, (json.dumps(self.manifest, indent=1) + "\n").encode())
        write_atomically(self.folder / "README.md", card(self.manifest).encode())


def molecule_columns(rows: Sequence[Made]) -> Columns:
    """Columns of a shard of molecules."""
    found: dict[str, Any] = {
        "inchikeys": [one.inchikey for one in rows],
        "smiles": as_text([one.smiles for one in rows]),
        "sizes": [len(one.molecule) for one in rows],
        "bond_counts": [len(one.molecule.bonds) for one in rows],
        "numbers": np.concatenate([one.molecule.numbers for one in rows]),
        "coordinates": np.concatenate([one.steps for one in rows]),
        "formal_charges": np.concatenate([one.molecule.charges for one in rows]),
        "bonds": np.concatenate([np.reshape(one.molecule.bonds, (-1, 3)) for one in rows]),
        "wanted_gap_ev": [one.wanted_gap_ev for one in rows],
        "gfn2_energy_hartree": [one.electronic.energy_hartree for one in rows],
        "gfn2_orbital_energies_ev": [one.electronic.orbital_energies_ev for one in rows],
        "gfn2_dipole_debye": [one.electronic.dipole_debye for one in rows],
        "gfn2_charges_e": np.concatenate([one.electronic.charges_e for one in rows]),
        "gfn2_homo_populations": np.concatenate([one.electronic.homo_populations for one in rows]),
        "gfn2_lumo_populations": np.concatenate([one.electronic.lumo_populations for one in rows]),
        "gfn2_cpu_s": [one.cpu_s for one in rows],
    }
    return {name: np.asarray(found[name]).astype(dtype) for name, dtype in MOLECULES.items()}


def label_columns(rows: Sequence[Label]) -> Columns:
    """Columns of a shard of labels."""
    found: dict[str, Any] = {
        "inchikeys": [one.inchikey for one in rows],
        "geometries": [one.geometry for one in rows],
        "sizes": [len(one.mulliken_e) for one in rows],
        "homo_ev": [one.homo_ev for one in rows],
        "lumo_ev": [one.lumo_ev for one in rows],
        "energy_hartree": [one.energy_hartree for one in rows],
        "dipole_debye": [one.dipole_debye for one in rows],
        "mulliken_e": [charge for one in rows for charge in one.mulliken_e],
        "cpu_s": [one.cpu_s for one in rows],
        "rungs": as_text([one.rung for one in rows]),
        "failures": as_text([one.failure for one in rows]),
    }
    return {name: np.asarray(found[name]).astype(dtype) for name, dtype in LABELS.items()}
