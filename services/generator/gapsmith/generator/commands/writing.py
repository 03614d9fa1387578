"""Molecules for people: SDF with everything about them as tags, SMILES, or a table."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gapsmith.core.chemistry.identity import tanimoto, unpack_fingerprints
from gapsmith.core.errors import UnavailableError
from gapsmith.core.output import V2000_DECIMALS, cells, sdf_record
from gapsmith.generator.commands.collecting import Found
from gapsmith.generator.commands.leads import Lead
from gapsmith.generator.molecule import GeneratedMolecule
from gapsmith.training.files import replacing


@dataclass(frozen=True)
class Entry:
    """A molecule with all that is written about it."""

    molecule: GeneratedMolecule
    name: str
    tags: Mapping[str, object]


def entries(found: Sequence[Found], leads: Sequence[Lead], common: Mapping[str, object]) -> list[Entry]:
    """Molecules with their tags.

    Args:
        found: in their order.
        leads: what they were grown from, by ``Found.parent``.
        common: tags that all have, such as wanted properties, seed and model.
    """
    return [
        Entry(
            one.molecule,
            one.identity.inchikey,
            {
                "smiles": one.identity.smiles,
                "inchikey": one.identity.inchikey,
                "formula": one.identity.formula,
                "heavy_atoms": one.identity.heavy_atoms,
                "sa_score": round(one.identity.sa_score, 2),
                "in_qm9": one.in_qm9,
                **({} if one.parent is None else _ancestry(one, leads[one.parent])),
                **common,
            },
        )
        for one in found
    ]


def _ancestry(one: Found, lead: Lead) -> dict[str, object]:
    """Which lead it was grown from, how like it it is, and which atoms are the lead's; atoms are counted from 1."""
    kept = np.flatnonzero(one.molecule.parent_atoms >= 0)
    similarity = tanimoto(one.identity.fingerprint, unpack_fingerprints([lead.identity.fingerprint]))[0]
    return {
        "lead": lead.name,
        "lead_smiles": lead.identity.smiles,
        "lead_inchikey": lead.identity.inchikey,
        "similarity_to_lead": round(float(similarity), 3),
        "kept_atoms": ",".join(str(atom + 1) for atom in kept),
        "kept_atoms_in_lead": ",".join(str(atom + 1) for atom in one.molecule.parent_atoms[kept]),
    }


def write(path: Path, molecules: Sequence[Entry]) -> None:
    """Write molecules in the format of the file's ending, whole or not at all.

    Raises:
        UnavailableError: the disk does not take the file.
    """
    try:
        with replacing(path) as partial:
            WRITERS[path.suffix.lower()](partial, molecules)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_sdf(path: Path, molecules: Sequence[Entry]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for entry in molecules:
            decimals = _decimals(entry.molecule.coordinates[entry.molecule.parent_atoms >= 0])
            stream.write(sdf_record(entry.molecule, entry.name, entry.tags, decimals=decimals))


def _decimals(coordinates: np.ndarray) -> int:
    """Decimals that kept coordinates need so that reading them gives the same bits, (atoms, 3)."""
    needed = [len(np.format_float_positional(x, trim="-").partition(".")[2]) for x in coordinates.ravel()]
    return max([V2000_DECIMALS, *needed])


def _write_smi(path: Path, molecules: Sequence[Entry]) -> None:
    path.write_text("".join(f"{entry.tags['smiles']} {entry.name}\n" for entry in molecules), encoding="utf-8")


def _write_csv(path: Path, molecules: Sequence[Entry]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(cells(molecules[0].tags if molecules else ()))
        writer.writerows(cells(entry.tags.values()) for entry in molecules)


WRITERS: Final[dict[str, Callable[[Path, Sequence[Entry]], None]]] = {
    ".sdf": _write_sdf,
    ".smi": _write_smi,
    ".csv": _write_csv,
}
