"""QCSchema (MolSSI): calculations as other programs of the field read them, and molecules out of the files that they write.

Lengths are bohr there and angstrom here. Everything of ours that QCSchema has no field for stands under
``extras["gapsmith"]``: the level of theory and the whole result.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from gapsmith.core.chemistry.geometry import element_symbol
from gapsmith.core.errors import InputError
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

# Layout 1 is what QCFractal, QCEngine and Psi4 exchange today; layout 2 is a draft until QCElemental 0.60. Imported under its
# number, for the bare ``qcelemental.models`` turns into layout 2 with QCElemental 0.70.
if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicInput, AtomicResult, OptimizationResult

Driver = Literal["energy", "gradient"]
OURS: Final = "gapsmith"
PROVENANCE: Final = {"wall_s", "cpu_s", "host", "software"}
# Where a document keeps the molecule that it ends with; a molecule has none of these.
MOLECULES: Final = ("final_molecule", "molecule", "initial_molecule")


class Structure(NamedTuple):
    """A molecule."""

    numbers: np.ndarray  # (atoms,), atomic numbers
    coordinates: np.ndarray  # (atoms, 3), angstrom
    charge: int
    spin: int  # unpaired electrons


def to_atomic_input(job: CalculationInput, driver: Driver = "energy") -> "AtomicInput":
    """A calculation at its input geometry, before any relaxation."""
    from qcelemental.models.v1 import AtomicInput

    return AtomicInput(**input_fields(job, driver))


def to_atomic_result(job: CalculationInput, output: CalculationOutput) -> "AtomicResult":
    """The single point of a finished calculation, at the relaxed geometry if there is one."""
    from qcelemental.models.v1 import AtomicResult

    end = output.coordinates_angstrom or job.coordinates_angstrom
    fields = input_fields(job.model_copy(update={"coordinates_angstrom": end}), "energy")
    electrons = sum(job.numbers) - job.charge
    fields["extras"][OURS]["result"] = output.model_dump(mode="json")
    return AtomicResult(
        **fields
        | {
            "schema_name": "qcschema_output",
            "return_result": output.energy_hartree,
            "properties": {
                "return_energy": output.energy_hartree,
                "calcinfo_natom": len(job.numbers),
                "calcinfo_nalpha": (electrons + job.spin) // 2,
                "calcinfo_nbeta": (electrons - job.spin) // 2,
            },
            "provenance": _provenance(output),
            "success": True,
        }
    )


def to_optimization_result(job: CalculationInput, output: CalculationOutput) -> "OptimizationResult":
    """A relaxation: the initial and the final molecule, and the single point at its end as the trajectory.

    Raises:
        InputError: the calculation relaxed nothing.
    """
    from qcelemental.models.v1 import OptimizationResult

    if output.coordinates_angstrom is None:
        raise InputError(f"level {job.level.name!r} relaxed nothing; its result is no optimisation, but a single point")
    start, end = input_fields(job, "gradient"), to_atomic_result(job, output)
    return OptimizationResult(
        initial_molecule=start["molecule"],
        input_specification={key: start[key] for key in ("driver", "model", "keywords", "extras")},
        keywords={"program": job.level.engine},
        protocols={"trajectory": "final"},
        final_molecule=end.molecule,
        trajectory=[end],
        energies=[output.energy_hartree],
        provenance=_provenance(output),
        success=True,
    )


def input_fields(job: CalculationInput, driver: Driver) -> dict[str, Any]:
    """What an ``AtomicInput`` of layout 1 holds, unvalidated; keywords are the program's own where QCEngine runs it."""
    level = job.level
    return {
        "schema_name": "qcschema_input",
        "schema_version": 1,
        "molecule": {
            "symbols": [element_symbol(number) for number in job.numbers],
            "geometry": (job.positions / BOHR_TO_ANGSTROM).ravel(),
            "molecular_charge": job.charge,
            "molecular_multiplicity": job.spin + 1,
            "fix_com": True,  # or it is moved and turned, and gradients with it
            "fix_orientation": True,
        },
        "driver": driver,
        "model": {"method": level.method, "basis": level.basis},
        "keywords": dict(level.options.get("keywords", {})) if level.engine == "qcengine" else {},
        "extras": {
            OURS: {
                "level": level.model_dump(mode="json"),
                "level_version": level.version,
                "geometry_method": job.geometry_method,
            }
        },
    }


def read(path: Path) -> Structure:
    """The molecule of a QCSchema file.

    Raises:
        InputError: it cannot be read, or is not QCSchema; what is wrong with it.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"QCSchema: {path} cannot be read as JSON: {error}") from error
    return from_molecule(document, str(path))


def from_molecule(document: Any, source: str = "document") -> Structure:
    """The molecule of a QCSchema ``Molecule``, ``AtomicInput``, ``AtomicResult``, ``OptimizationInput`` or ``-Result``.

    Args:
        document: parsed JSON, of layout 1 or 2.
        source: where it is from, for messages.

    Raises:
        InputError: it is none of these, or holds no molecule that could be computed.
    """
    if not isinstance(document, Mapping):
        raise InputError(f"QCSchema: {source} holds a {type(document).__name__}, not an object with a molecule")
    found = next((document[key] for key in MOLECULES if document.get(key)), document)
    if not isinstance(found, Mapping):
        raise InputError(f"QCSchema: {source}: its molecule is a {type(found).__name__}, not an object")
    if missing := [key for key in ("symbols", "geometry") if key not in found]:
        raise InputError(
            f"QCSchema: {source} holds no molecule: {' and '.join(missing)} missing; a Molecule, an AtomicInput, an "
            f"AtomicResult or an OptimizationResult is expected, not {str(document.get('schema_name', 'this'))!r}"
        )
    molecule = _validated(found, source)
    if not np.all(molecule.real):
        raise InputError(f"QCSchema: {source}: ghost atoms cannot be computed")
    charge, multiplicity = float(molecule.molecular_charge), float(molecule.molecular_multiplicity)
    if not charge.is_integer() or not multiplicity.is_integer():
        raise InputError(
            f"QCSchema: {source}: charge {charge:g} and multiplicity {multiplicity:g} must be whole numbers"
        )
    numbers = np.asarray(molecule.atomic_numbers, dtype=np.int64)
    return Structure(numbers, np.asarray(molecule.geometry) * BOHR_TO_ANGSTROM, int(charge), int(multiplicity) - 1)


def _validated(found: Mapping[str, Any], source: str) -> Any:
    from qcelemental.exceptions import MoleculeFormatError, NotAnElementError, ValidationError
    from qcelemental.models import v1, v2

    model = v2.Molecule if found.get("schema_version") == 3 else v1.Molecule
    # Checked even where the file says that it was, and left where it is.
    fields = dict(found) | {"validated": False, "fix_com": True, "fix_orientation": True}
    try:
        return model(**fields)
    except (MoleculeFormatError, NotAnElementError, ValidationError, ValueError, TypeError, KeyError) as error:
        words = " ".join(str(getattr(error, "message", error)).split())  # QCElemental's errors keep theirs apart
        raise InputError(f"QCSchema: {source}: not a molecule: {words[:300]}") from error


def _provenance(output: CalculationOutput) -> dict[str, Any]:
    """Who computed it; the keys beyond the schema's three are QCEngine's where it has one."""
    return {
        "creator": OURS,
        "version": output.software.get(OURS, ""),
        "routine": "gapsmith.dft_queue.compute",
        "hostname": output.host,
        "wall_time": output.wall_s,
        "cpu_time": output.cpu_s,
        "software": output.software,
    }
