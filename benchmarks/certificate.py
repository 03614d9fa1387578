"""What a certificate costs, what the GFN2-xTB Hessian saves, and how far its gap is from that of a tight relaxation."""

import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from gapsmith.core.levels import GFN2, shipped
from gapsmith.core.xtb import relax
from gapsmith.data import qm9
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.runner import blas_environment

HEAVY_ATOMS = 6
MOLECULES = 3
TIGHT = {  # geomeTRIC's own defaults
    "convergence_energy": 1e-6,
    "convergence_grms": 3e-4,
    "convergence_gmax": 4.5e-4,
    "convergence_drms": 1.2e-3,
    "convergence_dmax": 1.8e-3,
}


def measure() -> dict[str, Any]:
    """Relax some molecules of QM9's test split from their GFN2-xTB geometries, three ways."""
    os.environ.update(blas_environment())  # as the workers' children have it; PySCF reads it on import
    from gapsmith.dft_queue import relaxation

    rows = []
    for numbers, coordinates in _molecules():
        certificate, triage = shipped()["certificate"], shipped()["triage"]
        job = CalculationInput.of(numbers, coordinates, certificate, geometry_method=GFN2)
        rows.append({"shipped": _run(job)})
        with patch.object(relaxation, "xtb_hessian", lambda job, coordinates: None):
            rows[-1]["without_hessian"] = _run(job)
        with patch.object(relaxation, "CONVERGENCE", TIGHT):
            rows[-1]["tight"] = _run(job)
        rows[-1]["triage"] = _run(job.model_copy(update={"level": triage}))
    return {
        "heavy_atoms": HEAVY_ATOMS,
        "molecules": MOLECULES,
        "gradients": {
            name: sum(row[name]["gradients"] for row in rows) for name in ("shipped", "without_hessian", "tight")
        },
        "mean_cpu_s": {name: round(statistics.mean(row[name]["cpu_s"] for row in rows), 1) for name in rows[0]},
        "largest_gap_difference_to_tight_mev": round(
            max(1000 * abs(row["shipped"]["gap_ev"] - row["tight"]["gap_ev"]) for row in rows), 1
        ),
    }


def _molecules() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    data = qm9.load()
    heavy = np.add.reduceat(data.numbers > 1, data.offsets[:-1])
    test = qm9.split(len(data))["test"]
    for index in test[heavy[test] == HEAVY_ATOMS][:MOLECULES]:
        atoms = data.atoms(int(index))
        yield data.numbers[atoms], relax(data.numbers[atoms], data.coordinates[atoms].astype(np.float64)).coordinates


def _run(job: CalculationInput) -> dict[str, float]:
    from gapsmith.dft_queue.compute import compute

    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        output = compute(job, Path(folder))
    assert output.gap_ev is not None
    return {"cpu_s": output.cpu_s, "gradients": output.relaxation_steps, "gap_ev": output.gap_ev}
