"""Single points of molecules with 10 to 25 heavy atoms next to plain density-fitted PySCF: CPU-seconds and gaps.

Both compute B3LYP/def2-SVP at the same GFN2-xTB geometry, each in a process of its own with one thread and the same
BLAS settings. Plain PySCF is ``dft.RKS(mol, xc="b3lyp").density_fit().run()``: its grid 3, its auxiliary basis set
(def2-universal-jkfit) and its thresholds. ``python -m benchmarks.wide 10 15`` measures some sizes only.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any, Final

MOLECULES: Final = {  # by heavy atoms
    10: "COc1ccc(C=O)cc1",
    15: "CC(=O)Nc1ccc(OCC(C)=O)cc1",
    20: "COc1ccc2cc(ccc2c1)C(C)C(=O)OCCC",
    25: "COc1ccc2cc(ccc2c1)C(C)C(=O)Nc1ccc(C#N)cc1",
}
BASIS: Final = "def2-svp"
MEMORY_MB: Final = 8000


def measure() -> dict[str, Any]:
    """All sizes, each program in a process of its own."""
    return {str(size): compared(size) for size in MOLECULES}


def compared(size: int) -> dict[str, Any]:
    """One molecule by both programs."""
    ours, plain = (_in_process(which, size) for which in ("ours", "plain"))
    return {
        "smiles": MOLECULES[size],
        "cpu_s": ours["cpu_s"],
        "plain_cpu_s": plain["cpu_s"],
        "times_faster": round(plain["cpu_s"] / ours["cpu_s"], 2),
        "gap_ev": ours["gap_ev"],
        "gap_difference_mev": round(1000 * (ours["gap_ev"] - plain["gap_ev"]), 2),
        "energy_difference_mhartree": round(1000 * (ours["energy_hartree"] - plain["energy_hartree"]), 3),
    }


def _in_process(which: str, size: int) -> dict[str, float]:
    from gapsmith.dft_queue.runner import blas_environment

    command = [sys.executable, "-m", "benchmarks.wide", which, str(size)]
    done = subprocess.run(command, env={**os.environ, **blas_environment()}, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(which: str, size: int) -> dict[str, float]:
    """One molecule by one program, in this process; what is imported and relaxed before does not count."""
    from pyscf import dft
    from rdkit import Chem

    from gapsmith.core.chemistry.conversion import from_rdkit
    from gapsmith.core.chemistry.embedding import embed
    from gapsmith.core.levels import shipped
    from gapsmith.core.units import HARTREE_TO_EV
    from gapsmith.core.xtb import relax
    from gapsmith.dft_queue import scf
    from gapsmith.dft_queue.jobs import CalculationInput

    rough = from_rdkit(embed(Chem.MolFromSmiles(MOLECULES[size])))
    coordinates = relax(rough.numbers, rough.coordinates).coordinates
    level = shipped()["wide"].model_copy(update={"basis": BASIS, "relaxation": ()})
    job = CalculationInput.of(rough.numbers, coordinates, level)
    mol = scf.molecule(job, job.positions, memory_mb=MEMORY_MB)
    started = time.process_time()
    field = dft.RKS(mol, xc="b3lyp").density_fit().run() if which == "plain" else scf.converge(mol, level).mean_field
    cpu_s = time.process_time() - started
    homo, lumo = scf.frontier_ev(field, HARTREE_TO_EV)
    return {"cpu_s": round(cpu_s, 1), "gap_ev": lumo - homo, "energy_hartree": float(field.e_tot)}


if __name__ == "__main__":
    if sys.argv[1] in ("ours", "plain"):
        print(json.dumps(one(sys.argv[1], int(sys.argv[2]))))
    else:
        for asked in sys.argv[1:]:
            print(asked, json.dumps(compared(int(asked))), flush=True)
