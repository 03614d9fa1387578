"""A job of the DFT queue in full, and its files."""

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gapsmith.core import properties
from gapsmith.core.errors import DataError, UnavailableError
from gapsmith.core.levels import LevelOfTheory
from gapsmith.core.output import xyz
from gapsmith.core.units import duration
from gapsmith.store import calculation_files, conformers
from gapsmith.store.attempts import Attempt
from gapsmith.store.database import Connection
from gapsmith.store.job_story import Story
from gapsmith.training.files import write_atomically

# What the name of a quantity in ``result`` ends with, and what people write.
UNITS: Final = (
    ("_hartree", "hartree"),
    ("_bohr3", "bohr³"),
    ("_cm1", "cm⁻¹"),
    ("_km_mol", "km/mol"),
    ("_ev", "eV"),
    ("_nm", "nm"),
    ("_e", "e"),
)
LONGEST: Final = 12  # values of a list that are shown


def lines(one: Story) -> list[str]:
    """Everything, for a terminal or a pipe."""
    out = [f"job        {one.id}", f"state      {_state(one)}"]
    out += [
        f"molecule   {one.smiles or one.formula} ({one.formula}, {one.atoms} atoms)",
        f"           charge {one.charge}, unpaired electrons {one.spin}",
    ]
    out += [f"geometry   given by {one.geometry_method}, conformer {one.conformer_id}"]
    if one.result_conformer_id is not None:
        out += [f"           relaxed, conformer {one.result_conformer_id}"]
    out += [f"level      {one.level} (version {one.level_version})", *_definition(one.definition or {})]
    if one.campaign is not None:
        out += [f"campaign   {one.campaign} ({one.campaign_state})"]
    out += [f"queue      {one.queue}, priority {one.priority}, asked for {_when(one.created_at)}"]
    if one.state == "done":
        out += ["", "results", *_results(one)]
        if (ensemble := one.extra.get("ensemble")) is not None:
            out += ["", "conformers", *_conformers(ensemble)]
        if one.findings:
            out += ["", "findings", *(f"  {finding}" for finding in one.findings)]
        out += [
            "",
            "provenance",
            f"  computed on {one.host} in {one.wall_s or 0:.1f} s, {one.cpu_s or 0:.1f} CPU-seconds",
        ]
        out += [f"  {', '.join(f'{name} {number}' for name, number in sorted(one.software.items()))}"]
    elif one.failure_reason:
        out += [f"reason     {': '.join(filter(None, (one.failure_class, one.failure_reason)))}"]
    out += ["", f"attempts   {len(one.attempts) or 'none'}", *(f"  {line}" for line in attempt_lines(one))]
    if one.files:
        out += ["", "files", *(f"  {file.name}  {file.size_bytes / 1e6:.2f} MB" for file in one.files)]
    tail = next((attempt.log_tail for attempt in reversed(one.attempts) if attempt.log_tail), None)
    if tail:
        out += ["", "end of the log", *(f"  {line}" for line in tail.splitlines())]
    return out


def attempt_lines(one: Story) -> list[str]:
    """A line per attempt: when, where, how it ended."""
    return [f"{number}. {_attempt(attempt, one)}" for number, attempt in enumerate(one.attempts, start=1)]


def _attempt(attempt: Attempt, one: Story) -> str:
    took = duration(((attempt.ended_at or one.now) - attempt.started_at).total_seconds())
    how = f"{attempt.outcome} {'for' if attempt.ended_at is None else 'after'} {took}"
    words = f"{_when(attempt.started_at)} on {attempt.host}, {how}"
    if attempt.rung:
        words += f", rung {attempt.rung}"
    if attempt.reason:
        words += f": {': '.join(filter(None, (attempt.failure_class, attempt.reason)))}"
    return words


def _when(time: Any) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def _state(one: Story) -> str:
    if one.state == "running":
        since = duration((one.now - one.started_at).total_seconds()) if one.started_at else "?"
        return f"running for {since}" + (f", at: {one.progress}" if one.progress else "")
    return "quarantined" if one.state == "failed" and one.failure_class == "poison" else one.state


def _definition(definition: Mapping[str, Any]) -> list[str]:
    out = []
    for key in LevelOfTheory.model_fields:
        value = definition.get(key)
        if key not in ("name", "revision", "queue") and value not in (None, [], {}, False, ""):
            out.append(f"  {key} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return out


def _results(one: Story) -> Iterator[str]:
    for name in ("gap_ev", "homo_ev", "lumo_ev", "energy_hartree", "dipole_debye"):
        value = getattr(one, name)
        if value is not None:
            quantity, _, unit = name.rpartition("_")
            yield f"  {quantity} {value:.6f} {unit.replace('ev', 'eV')}"
    if one.rung:
        yield f"  SCF converged on rung {one.rung}"
    for name, value in one.extra.items():
        if name == "ensemble":
            continue
        if name == "excitations":
            yield from _excitations(value)
            continue
        quantity, unit = next(
            ((name.removesuffix(end), f" {unit}") for end, unit in UNITS if name.endswith(end)), (name, "")
        )
        yield f"  {quantity.replace('_', ' ')} {_value(value)}{unit}"


def _excitations(states: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each excited state, the lowest first."""
    names = {1: "singlet", 3: "triplet"}
    for one in states:
        kind = names.get(one.get("multiplicity") or 0, "excitation")
        weight = "" if one.get("weight") is None else f" {100 * one['weight']:.0f} %"
        yield (
            f"  {kind} {one['energy_ev']:.3f} eV, {one['wavelength_nm']:.0f} nm, f {one['oscillator_strength']:.4f}, "
            f"{one.get('character', '')}, {one.get('transition', '')}{weight} ({one.get('method', '')})"
        )


def _conformers(ensemble: Mapping[str, Any]) -> Iterator[str]:
    """A line for each conformer and the means over all."""
    shown = {
        name: kind for name, kind in properties.registered().items() if name in ensemble["mean"] and not kind.heads
    }
    yield f"  {ensemble['embedded']} embedded, {ensemble['relaxed']} relaxed with GFN2-xTB; the lowest first"
    for number, one in enumerate(ensemble["conformers"], start=1):
        values = ", ".join(f"{kind.noun} {one['values'][name]:.3f} {kind.unit}" for name, kind in shown.items())
        yield f"  {number}. {one['energy_kcal']:.2f} kcal/mol, weight {one['weight']:.3f}: {values}"
    means = ", ".join(
        f"{kind.noun} {ensemble['mean'][name]:.3f} ± {ensemble['deviation'][name]:.3f} {kind.unit}"
        for name, kind in shown.items()
    )
    yield f"  Boltzmann mean and standard deviation at {ensemble['temperature_k']:g} K: {means}"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items())
    if isinstance(value, list):
        nested = bool(value) and isinstance(value[0], list | dict)
        shown = ("; " if nested else " ").join(_value(part) for part in value[:LONGEST])
        return shown + (f" ... ({len(value)} in all)" if len(value) > LONGEST else "")
    return str(value)


def save_files(connection: Connection, one: Story, folder: Path) -> Iterator[Path]:
    """Write a job's files, unpacked, and its final geometry as XYZ; gives the paths.

    Raises:
        UnavailableError: the folder cannot be written.
        DataError: what is stored does not have the SHA-256 that it should.
    """
    final = conformers.get(connection, one.final_conformer_id)
    try:
        geometry = folder / f"{str(one.id)[:8]}.xyz"
        write_atomically(
            geometry,
            xyz(final.molecule, f"{one.smiles or one.formula} {final.method} {one.level} job {one.id}").encode(),
        )
        yield geometry
        for file in one.files:
            try:
                content = gzip.decompress(calculation_files.packed(connection, one.id, file.name))
            except (OSError, EOFError) as error:
                raise DataError(f"the stored file {file.name} of job {one.id} is damaged: {error}") from error
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise DataError(
                    f"the stored file {file.name} of job {one.id} is damaged: its SHA-256 is not {file.sha256}"
                )
            path = folder / Path(file.name).name
            write_atomically(path, content)
            yield path
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be written: {error.strerror or error}") from error
