"""MOPAC through QCEngine, with what QCEngine 0.52's harness leaves out.

Its energy is the heat of formation, as QCEngine has it. Net charges are those of a basis that is taken as orthogonal, where
Mulliken's and Coulson's agree.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from qcengine.config import TaskConfig
from qcengine.exceptions import ConvergenceError, InputError, QCEngineException, ResourceError, UnknownError
from qcengine.programs.mopac import MopacHarness

from gapsmith.core.chemistry.elements import symbols

PM6_AND_7: Final = ((1, 57), (71, 83), (86, 86))
# Atomic numbers that MOPAC 22.0.6 has parameters for, from first to last: found by running the hydride of each.
ELEMENTS: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    "pm7": PM6_AND_7,
    "pm6": PM6_AND_7,
    "pm6-d3h4": PM6_AND_7,
    "pm3": ((1, 20), (30, 38), (48, 56), (80, 83)),
    "am1": ((1, 20), (30, 38), (42, 42), (49, 56), (80, 83)),
    "mndo": ((1, 20), (30, 38), (49, 56), (80, 83)),
    "mndod": ((1, 17), (30, 30), (35, 35), (48, 48), (53, 53), (80, 80)),
    "rm1": ((1, 1), (6, 9), (15, 17), (35, 35), (53, 53), (57, 71)),
}
NUMBER: Final = re.compile(r"-?\d+\.\d+")  # columns may touch
FRONTIER: Final = re.compile(r"^ +(?:HOMO|ALPHA SOMO|BETA +SOMO) LUMO (?:ENERGIES )?\(EV\) *=(.*)$", re.MULTILINE)


class Mopac(MopacHarness):  # type: ignore[misc]  # QCEngine has no types
    """Unrestricted orbitals for open shells, orbital energies, single atoms, and MOPAC's own words when it fails."""

    def refusal(self, atomic_input: Any, config: TaskConfig, numbers: tuple[int, ...]) -> str | None:
        """Why MOPAC would not compute it, if that shows before it is run."""
        try:
            self.build_input(atomic_input, config)
        except InputError as error:
            return str(error)
        method = str(atomic_input.specification.model.method)
        known = ELEMENTS.get(method.lower(), ((1, max(numbers)),))
        missing = [number for number in sorted(set(numbers)) if not any(low <= number <= high for low, high in known)]
        return f"{method} has no parameters for {symbols(missing)} in MOPAC" if missing else None

    def build_input(self, input_model: Any, config: TaskConfig, template: str | None = None) -> dict[str, Any]:
        """The input file; unrestricted for open shells, where MOPAC's own choice depends on the spin."""
        built: dict[str, Any] = super().build_input(input_model, config, template)
        if input_model.molecule.molecular_multiplicity > 1:
            built["infiles"]["dispatch.mop"] = built["infiles"]["dispatch.mop"].replace(" MS=", " UHF MS=", 1)
        return built

    def parse_output(self, outfiles: dict[str, str | None], input_model: Any) -> Any:
        """The result, with ``extras["frontier_ev"]`` where MOPAC prints it."""
        out = outfiles.get("dispatch.out") or ""
        if error := failure(out):
            print(out[-4000:], flush=True)
            raise error
        aux = outfiles.get("dispatch.aux")
        if aux and len(input_model.molecule.symbols) == 1 and "GRADIENTS:" not in aux:
            aux += "\n GRADIENTS:KCAL/MOL/ANGSTROM[03]=\n 0.0 0.0 0.0\n"  # a lone atom feels no force
        result = super().parse_output(outfiles | {"dispatch.aux": aux}, input_model)
        result.extras["frontier_ev"] = frontier_ev(out)
        return result


def failure(out: str) -> QCEngineException | None:
    """What an output file tells of a failure; None if the self-consistent field was reached."""
    if "SCF FIELD WAS ACHIEVED" in out:
        return None
    block = out.partition("Error and normal termination messages")[2]
    lines = (line.strip(" *.") for line in block.splitlines()[1:])
    said = ". ".join(line for line in lines if line and not line.startswith(("JOB ENDED", "TOTAL JOB", "== MOPAC")))
    if "SCF" in said or "FAILED TO ACHIEVE SCF" in out:
        return ConvergenceError(said or "the self-consistent field was not reached")
    if "memory" in said.lower():
        return ResourceError(said)
    return InputError(said) if said else UnknownError("MOPAC wrote no result and no reason")


def frontier_ev(out: str) -> tuple[float | None, float | None]:
    """Highest occupied and lowest empty orbital of an output file, over both spins."""
    found = [[float(value) for value in NUMBER.findall(line)] for line in FRONTIER.findall(out)]
    homos = [values[0] for values in found if values]
    lumos = [values[1] for values in found if len(values) > 1]
    return max(homos, default=None), min(lumos, default=None)
