"""Triage against the plain PySCF call on 50 random molecules of QM9: CPU-seconds and gaps.

The plain call is direct SCF on grid 3 with PySCF's own thresholds, in the same basis set and with the same BLAS settings, so
that only what the level of theory and the engine change is compared. It takes ten minutes for a molecule of nine heavy
atoms, so only the first molecule is timed with it. The others' gaps come from the same direct SCF begun from a
density-fitted density and converged to 1e-7 hartree, which is three times faster and ends at the same gap (compared where
both are there); its time is a lower bound of the plain call's. Results are kept in ``benchmarks/reference/``;
``python -m benchmarks.triage reference`` makes what is missing, in some hours.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gapsmith.data import qm9

MOLECULES = 50
SEED = 20261123
TIMED = 1  # molecules that the plain call is timed on
REFERENCE = Path(__file__).parent / "reference" / "direct_scf.jsonl"


def chosen() -> Iterator[tuple[int, np.ndarray, np.ndarray, float]]:
    """Index, (atoms,) numbers, (atoms, 3) angstrom and QM9's gap (eV) of the molecules."""
    data = qm9.load()
    for index in np.random.default_rng(SEED).choice(len(data), MOLECULES, replace=False):
        atoms = data.atoms(int(index))
        gap_ev = float(data.properties["gap_ev"][index])
        yield int(index), data.numbers[atoms], data.coordinates[atoms].astype(np.float64), gap_ev


def measure() -> dict[str, Any]:
    """Compute all of them with ``gapsmith dft`` from an empty home, and compare."""
    with tempfile.TemporaryDirectory(prefix="gapsmith-bench-") as folder:
        found = _through_the_queue(Path(folder))
    known = reference()
    to_qm9, to_direct = [], []
    faster: dict[bool, list[float]] = {True: [], False: []}
    for index, _, _, qm9_gap_ev in chosen():
        row = found[str(index)]
        if row["state"] != "done":
            continue
        gap_ev = float(row["gap_ev"])
        to_qm9.append(1000 * abs(gap_ev - qm9_gap_ev))
        if direct := known.get((index, True)) or known.get((index, False)):
            to_direct.append(1000 * abs(gap_ev - direct["gap_ev"]))
        for plain, ratios in faster.items():
            if timed := known.get((index, plain)):
                ratios.append(timed["cpu_s"] / float(row["cpu_s"]))
    both = [(known[i, True], known[i, False]) for i, plain in known if plain and (i, False) in known]
    return {
        "molecules": len(found),
        "failed": {name: row["reason"] for name, row in found.items() if row["state"] != "done"},
        "cpu_s_median": round(statistics.median(float(row["cpu_s"]) for row in found.values() if row["cpu_s"]), 2),
        "scf_rungs": dict(Counter(row["rung"] for row in found.values())),
        "to_qm9_mev": _spread(to_qm9),
        "to_direct_scf_mev": _spread(to_direct),
        "times_faster_than_plain": _spread(faster[True]),
        "times_faster_than_direct_from_a_converged_density": _spread(faster[False]),
        "largest_difference_of_the_two_references_mev": max(
            (round(1000 * abs(first["gap_ev"] - second["gap_ev"]), 3) for first, second in both), default=None
        ),
    }


def _through_the_queue(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of the command's table by name."""
    from gapsmith.core.chemistry.elements import SYMBOLS

    lines = []
    for index, numbers, coordinates, _ in chosen():
        atoms = zip(numbers, coordinates, strict=True)
        lines += [
            str(len(numbers)),
            str(index),
            *(f"{SYMBOLS[n]} {x:.8f} {y:.8f} {z:.8f}" for n, (x, y, z) in atoms),
        ]
    (folder / "qm9.xyz").write_text("\n".join(lines) + "\n")
    table = folder / "results.csv"
    command = [sys.executable, "-m", "gapsmith.cli.main", "dft", str(folder / "qm9.xyz"), "--level", "single-point"]
    subprocess.run([*command, "-o", str(table)], env={**os.environ, "GAPSMITH_HOME": str(folder / "home")}, check=False)
    with table.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _spread(values: list[float]) -> dict[str, float]:
    ends = {"least": round(min(values), 2), "most": round(max(values), 2)}
    return {"molecules": len(values), "median": round(statistics.median(values), 2), **ends}


def reference() -> dict[tuple[int, bool], dict[str, float]]:
    """Results of direct SCF so far, by index and whether it is the plain call, begun from PySCF's own guess."""
    lines = REFERENCE.read_text().splitlines() if REFERENCE.is_file() else []
    return {(row["index"], row["plain"]): row for row in map(json.loads, lines)}


def make_reference() -> None:
    """Compute what is missing."""
    REFERENCE.parent.mkdir(exist_ok=True)
    known = reference()
    molecules = list(chosen())
    for plain, part in ((False, molecules), (True, molecules[:TIMED])):
        for index, numbers, coordinates, _ in part:
            if (index, plain) in known:
                continue
            row = {"index": index, "plain": plain, **_direct(numbers, coordinates, plain)}
            with REFERENCE.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


def _direct(numbers: np.ndarray, coordinates: np.ndarray, plain: bool) -> dict[str, float]:
    from pyscf import dft, gto

    from gapsmith.core.units import HARTREE_TO_EV
    from gapsmith.dft_queue.basis import basis
    from gapsmith.dft_queue.integration import CachedNumInt

    atoms = [(int(number), position) for number, position in zip(numbers, coordinates, strict=True)]
    mol = gto.M(atom=atoms, basis=basis(), verbose=0)
    density = None
    if not plain:
        fitted = dft.RKS(mol, xc="b3lypg").density_fit(auxbasis="def2-universal-jkfit")
        fitted.grids.level = 1
        fitted._numint = CachedNumInt()
        fitted.kernel()
        density = fitted.make_rdm1()
    started = time.process_time()
    field = dft.RKS(mol, xc="b3lypg")
    if not plain:
        field.conv_tol = 1e-7
    field.kernel(dm0=density)
    occupied = int(numbers.sum()) // 2
    gap = field.mo_energy[occupied] - field.mo_energy[occupied - 1]
    return {
        "gap_ev": float(gap) * HARTREE_TO_EV,
        "energy_hartree": float(field.e_tot),
        "cpu_s": round(time.process_time() - started, 2),
        "converged": bool(field.converged),
    }


if __name__ == "__main__":
    if sys.argv[1:] != ["reference"]:
        sys.exit("python -m benchmarks.triage reference")
    from gapsmith.dft_queue.runner import blas_environment

    os.environ.update(blas_environment())  # PySCF reads it on import
    make_reference()
