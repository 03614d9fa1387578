"""What was measured, as a table for people and as JSON."""

import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from gapsmith.data import qm9
from gapsmith.generator.evaluation import real
from gapsmith.generator.evaluation.conditional import Conditional
from gapsmith.generator.evaluation.results import Report, Row

PACKAGES = ("gapsmith", "torch", "rdkit", "posebusters", "numpy")
ABSENT = ""


def numbers(report: Report) -> dict[str, Any]:
    """All that was measured; a number that is none is None."""
    rows = {
        name: row.quality.numbers() | {"speed": row.speed and asdict(row.speed), "gap": row.met and asdict(row.met)}
        for name, row in report.rows.items()
    }
    whole = _finite({"rows": rows, "conditional": report.conditional and asdict(report.conditional)})
    assert isinstance(whole, dict)
    return whole


def as_json(report: Report, settings: dict[str, Any]) -> str:
    """All numbers, with what they depend on."""
    context = {
        "settings": settings,
        "split_sha256": {name: qm9.split_hash(indices) for name, indices in real.split().items()},
        "versions": {package: version(package) for package in PACKAGES},
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "notes": report.notes,
    }
    return json.dumps(numbers(report) | context, indent=2) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.1f}"


def _number(value: float | None, digits: int = 3) -> str:
    return ABSENT if value is None else "-" if math.isnan(value) else f"{value:.{digits}f}"


def _measures() -> list[tuple[str, Callable[[Row], str]]]:
    """Name and value of each line."""

    def distance(name: str) -> Callable[[Row], str]:
        return lambda row: _number(getattr(row.quality.distances, name, None), 4 if "angstrom" in name else 3)

    return [
        ("attempts", lambda row: str(row.quality.attempts)),
        ("atom stability, EDM's table, %", lambda row: _percent(row.quality.atom_stability)),
        ("molecule stability, EDM's table, %", lambda row: _percent(row.quality.molecule_stability)),
        ("valid, strict, %", lambda row: _percent(row.quality.valid)),
        ("unique, % of the valid", lambda row: _percent(row.quality.unique)),
        ("valid and unique, %", lambda row: _percent(row.quality.valid_and_unique)),
        ("not in QM9, % of the unique", lambda row: _percent(row.quality.novel)),
        ("connected by distances, %", lambda row: _percent(row.quality.connected)),
        ("PoseBusters passed, %", lambda row: _percent(row.quality.plausibility and row.quality.plausibility.passed)),
        ("bond lengths from QM9's, angstrom", distance("bond_length_angstrom")),
        ("bond angles from QM9's, degrees", distance("bond_angle_degree")),
        ("ring sizes from QM9's, 0 to 1", distance("ring_size")),
        ("elements from QM9's, 0 to 1", distance("element")),
        ("numbers of atoms from QM9's, 0 to 1", distance("size")),
        ("gap by the evaluator, eV", lambda row: _number(row.met and row.met.mean_ev, 2)),
        ("its error, eV", lambda row: _number(row.met and row.met.mae_ev)),
        ("within 0.1 eV, % of all attempts", lambda row: _percent(row.met and row.met.within_tenth)),
        ("attempts a second", lambda row: _number(row.speed and row.speed.attempts_per_s, 2)),
        ("valid unique molecules a second", lambda row: _number(row.speed and row.speed.valid_unique_per_s, 2)),
    ]


def lines(report: Report) -> list[str]:
    """The table, one line a measure and one column a set of molecules."""
    rows = list(report.rows.values())
    body = [[name, *(value(row) for row in rows)] for name, value in _measures()]
    body = [line for line in body if any(line[1:])]
    out = _aligned([["", *report.rows], *body])
    for name, row in report.rows.items():
        if row.quality.refused:
            reasons = ", ".join(f"{reason} {count}" for reason, count in row.quality.refused.items())
            out.append(f"not valid in {name}: {reasons}")
    if report.conditional is not None:
        out += ["", *_protocol(report.conditional)]
    return out


def _protocol(found: Conditional) -> list[str]:
    rows = [
        (
            "generated for a gap",
            found.mae_ev,
            f"standard error {1000 * found.mae_standard_error_ev:.0f}" if found.scored else "",
        ),
        ("  failures as for another gap", found.mae_failures_random_ev, f"{found.targets - found.scored} failed"),
        ("floor: real molecules", found.floor_ev, "the evaluator's own error"),
        ("number of atoms alone", found.size_only_ev, "guesses the median"),
        ("random", found.random_ev, "real molecules for each other's gaps"),
    ]
    head = (
        f"mean absolute error of the gap, meV: {found.scored} of {found.targets} scored, none chosen (EDM's protocol)"
    )
    values = [[name, "-" if math.isnan(value) else f"{1000 * value:.0f}", note] for name, value, note in rows]
    out = [head, *_aligned(values, left=(0, 2))]
    if not found.evaluator_independent:
        out.append(
            "note: the evaluator's card does not say that it learned from EDM's first half of QM9; do not compare these "
            "numbers with published ones"
        )
    return out


def _aligned(rows: Sequence[Sequence[str]], left: tuple[int, ...] = (0,)) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    out = []
    for row in rows:
        cells = zip(range(len(row)), row, widths, strict=True)
        out.append("  ".join(text.ljust(w) if column in left else text.rjust(w) for column, text, w in cells).rstrip())
    return out
