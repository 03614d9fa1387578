"""QCSchema (MolSSI): calculations as other programs of the field read them; ``core.chemistry.qcschema`` reads molecules.

Lengths are bohr there and angstrom here. Everything of ours that QCSchema has no field for stands under
``extras["gapsmith"]``: the level of theory and the whole result.
"""

from typing import TYPE_CHECKING, Any, Final, Literal

from gapsmith.core.chemistry.elements import SYMBOLS
from gapsmith.core.units import BOHR_TO_ANGSTROM
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput

# Layout 1 is what QCFractal, QCEngine and Psi4 exchange today; layout 2 is a draft until QCElemental 0.60. Imported under its
# number, for the bare ``qcelemental.models`` turns into layout 2 with QCElemental 0.70.
if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult

Driver = Literal["energy", "gradient"]
OURS: Final = "gapsmith"


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


def input_fields(job: CalculationInput, driver: Driver) -> dict[str, Any]:
    """What an ``AtomicInput`` of layout 1 holds, unvalidated; keywords are the program's own where QCEngine runs it."""
    level = job.level
    return {
        "schema_name": "qcschema_input",
        "schema_version": 1,
        "molecule": {
            "symbols": [SYMBOLS[number] for number in job.numbers],
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
