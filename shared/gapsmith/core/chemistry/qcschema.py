"""Molecules of QCSchema documents (MolSSI), layouts 1 and 2; lengths are bohr there."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from gapsmith.core.chemistry.elements import ISOTOPES
from gapsmith.core.chemistry.records import Geometry, Record
from gapsmith.core.chemistry.text import Lines
from gapsmith.core.documents import value
from gapsmith.core.errors import InputError
from gapsmith.core.units import BOHR_TO_ANGSTROM

# Where a document keeps the molecule that it ends with; a molecule has none of these.
MOST_CHARACTERS: Final = 500_000_000  # results with orbitals are long
MOLECULES: Final = ("final_molecule", "molecule", "initial_molecule")
FRAGMENTS: Final = ("fragments", "fragment_charges", "fragment_multiplicities")
GHOSTS: Final = "its ghost atoms cannot be computed"


def read_json(lines: Lines, name: str) -> Iterator[Record]:
    """Records of a document, of a list of documents, or of one document in each line.

    Raises:
        InputError: the file is not JSON, neither as a whole nor line by line.
    """
    text = list(lines)
    try:
        found = value("\n".join(text), name, most=MOST_CHARACTERS)
        whole = (
            [(f"document {number}", one) for number, one in enumerate(found, 1)] if isinstance(found, list) else None
        )
        documents: list[tuple[str, Any]] = whole if whole is not None else [("document 1", found)]
    except InputError as error:
        documents = [(f"line {number}", _line(line)) for number, line in enumerate(text, 1) if line.strip()]
        if len(documents) < 2 or not isinstance(documents[0][1], Mapping):
            raise InputError(f"{error}; QCSchema is a document, a list or one in each line") from error
    for number, (place, document) in enumerate(documents, 1):
        yield from_document(document, Record(f"{number}", f"{name} {place}"))


def _line(line: str) -> Any:
    try:
        return value(line, "it", most=MOST_CHARACTERS)
    except InputError as error:
        return error


def from_document(document: Any, record: Record) -> Record:
    """The record of a ``Molecule``, ``AtomicInput``, ``AtomicResult``, ``OptimizationInput`` or ``OptimizationResult``."""
    if isinstance(document, InputError):
        return replace(record, error=str(document))
    if not isinstance(document, Mapping):
        return replace(record, error=f"it is a {type(document).__name__}, not an object with a molecule")
    record = replace(record, name=_name(document) or record.name, fields=_results(document))
    if document.get("success") is False:
        return replace(record, error="it is the record of a calculation that failed")
    found = next((document[key] for key in MOLECULES if document.get(key)), document)
    if not isinstance(found, Mapping):
        return replace(record, error=f"its molecule is a {type(found).__name__}, not an object")
    record = replace(record, name=_name(document) or _name(found) or record.name)
    if missing := [key for key in ("symbols", "geometry") if key not in found]:
        return replace(
            record,
            error=f"it holds no molecule: {' and '.join(missing)} missing; a Molecule, an AtomicInput, an AtomicResult or an "
            f"OptimizationResult is expected, not {str(document.get('schema_name', 'this'))!r}",
        )
    try:
        return _of_molecule(found, record)
    except InputError as error:
        return replace(record, error=str(error))


def _results(document: Mapping[str, Any]) -> dict[str, str]:
    """Numbers of a result by their names, and the gap of its orbital energies as ``homo``, ``lumo`` and ``gap``, hartree."""
    given = [document.get(key) for key in ("extras", "properties")]
    found = {str(name): one for some in given if isinstance(some, Mapping) for name, one in some.items()}
    found |= {"return_result": document.get("return_result")} | _frontier(document)
    numbers = (int, float)
    return {name: repr(one) for name, one in found.items() if isinstance(one, numbers) and not isinstance(one, bool)}


def _frontier(document: Mapping[str, Any]) -> dict[str, float]:
    """Energies of the frontier orbitals of a closed shell, hartree; empty where the document has no orbitals."""
    orbitals, properties = document.get("wavefunction"), document.get("properties")
    if not isinstance(orbitals, Mapping) or not isinstance(properties, Mapping):
        return {}
    energies = orbitals.get(str(orbitals.get("eigenvalues_a", "scf_eigenvalues_a")))
    occupied, other = (properties.get(f"calcinfo_n{spin}") for spin in ("alpha", "beta"))
    if not isinstance(occupied, int) or occupied != other or not isinstance(energies, list):
        return {}
    if not 0 < occupied < len(energies) or not all(isinstance(one, int | float) for one in energies):
        return {}
    homo, lumo = float(energies[occupied - 1]), float(energies[occupied])
    return {"homo": homo, "lumo": lumo, "gap": lumo - homo}


def _name(document: Mapping[str, Any]) -> str | None:
    extras = document.get("extras")
    given = (extras.get("name") if isinstance(extras, Mapping) else None) or document.get("name") or document.get("id")
    return None if given is None else str(given)


def _of_molecule(found: Mapping[str, Any], record: Record) -> Record:
    # Fragments play no part here, and QCElemental refuses those whose atoms are not in a row.
    fields = {key: value for key, value in found.items() if key not in FRAGMENTS}
    if "molecular_charge" not in fields and found.get("fragment_charges"):
        fields["molecular_charge"] = sum(found["fragment_charges"])
    if isinstance(fields["symbols"], list) and (isotopes := set(ISOTOPES) & set(map(str, fields["symbols"]))):
        # QCElemental does not take them for elements.
        fields["symbols"] = ["H" if symbol in ISOTOPES else symbol for symbol in fields["symbols"]]
        record = replace(record, notes=tuple(f"{symbol} is read as hydrogen" for symbol in sorted(isotopes)))
    molecule = _validated(fields)
    if not np.all(molecule.real):
        raise InputError(GHOSTS)
    charge, multiplicity = float(molecule.molecular_charge), float(molecule.molecular_multiplicity)
    if not charge.is_integer() or not multiplicity.is_integer():
        raise InputError(f"charge {charge:g} and multiplicity {multiplicity:g} must be whole numbers")
    numbers = np.asarray(molecule.atomic_numbers, dtype=np.int64)
    geometry = Geometry(numbers, np.asarray(molecule.geometry, dtype=np.float64) * BOHR_TO_ANGSTROM)
    return replace(record, geometry=geometry, unit="bohr", charge=int(charge), spin=int(multiplicity) - 1)


def _validated(fields: Mapping[str, Any]) -> Any:
    # Imported under its number, for the bare ``qcelemental.models`` turns into layout 2 with QCElemental 0.70.
    from qcelemental.exceptions import MoleculeFormatError, NotAnElementError, ValidationError
    from qcelemental.models import v1, v2

    model = v2.Molecule if fields.get("schema_version") == 3 else v1.Molecule
    try:  # checked even where the file says that it was, and left where it is
        return model(**dict(fields) | {"validated": False, "fix_com": True, "fix_orientation": True})
    except (MoleculeFormatError, NotAnElementError, ValidationError, ValueError, TypeError, KeyError) as error:
        words = " ".join(str(getattr(error, "message", error)).split())  # QCElemental's errors keep theirs apart
        raise InputError(f"it is not a molecule: {words[:300]}") from error
