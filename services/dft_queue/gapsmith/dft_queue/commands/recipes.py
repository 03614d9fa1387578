"""Recipes at work: the calculations of every molecule through the queue, wave by wave, and the quantity that follows."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gapsmith.core.errors import InputError
from gapsmith.core.levels import GENERATED, LevelOfTheory, Levels
from gapsmith.core.lifecycle import CalculationState
from gapsmith.core.recipes import Recipe, Step
from gapsmith.dft_queue.commands.molecules import Entry, checked
from gapsmith.dft_queue.commands.results import Row, rows
from gapsmith.dft_queue.commands.submitting import TOGETHER, Asked, Submission
from gapsmith.dft_queue.engines import find
from gapsmith.store import conformers, job_story
from gapsmith.store.conformers import Conformer
from gapsmith.store.database import Connection, Database

NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9._-]+")

Calculations = dict[str, list[Asked]]  # by name in the recipe; one for each record, in the order of the input


def levels_of(recipe: Recipe, level: LevelOfTheory, known: Levels) -> dict[str, LevelOfTheory]:
    """The level of each calculation; ``level`` where the recipe names none.

    Raises:
        NotFound: a level is not known.
        InputError: its engine cannot do what the recipe wants.
    """
    found = {name: _level(step, level, known) for name, step in recipe.calculations.items()}
    for name, one in found.items():
        if fault := find(one.engine).fault(one):
            raise InputError(f"recipe {recipe.name!r}, calculation {name!r}: {fault}")
    return found


def _level(step: Step, level: LevelOfTheory, known: Levels) -> LevelOfTheory:
    level = level if step.level is None else known[step.level]
    if step.solvent is None or step.solvent == level.solvent:
        return level
    name = f"{level.name}-{NOT_IN_NAMES.sub('-', step.solvent.name.lower())}"[:60]
    return level.model_copy(update={"solvent": step.solvent, "name": name})


def follow(
    database: Database,
    submission: Submission,
    recipe: Recipe,
    levels: Mapping[str, LevelOfTheory],
    *,
    wait: Callable[[], bool],
) -> Calculations:
    """Ask for all calculations after the first one of every record, which the submission has.

    Args:
        database: Postgres.
        submission: with every record's first calculation.
        recipe: which.
        levels: of its calculations.
        wait: returns once what was asked for has ended; False: it was told to stop.
    """
    names = list(recipe.calculations)
    found: Calculations = {names[0]: list(submission.asked)}
    for wave, together in enumerate(recipe.waves):
        if wave and not wait():
            break
        for name in [one for one in together if one != names[0]]:
            step = recipe.calculations[name]
            geometries = _geometries(database, found[step.after]) if step.after else [None] * len(submission.asked)
            first = found[names[0]]
            entries = [
                _derived(one.entry, name, step, levels[name], geometry)
                for one, geometry in zip(first, geometries, strict=True)
            ]
            found[name] = [
                asked
                for start in range(0, len(entries), TOGETHER)
                for asked in submission.add(entries[start : start + TOGETHER])
            ]
    return found


def _geometries(database: Database, asked: Sequence[Asked]) -> list[Conformer | None]:
    """Final geometries of calculations; None of those that have none."""
    with database.transaction() as connection:
        jobs = job_story.stories(connection, [one.job for one in asked if one.job is not None])
        done = {id_: one.final_conformer_id for id_, one in jobs.items() if one.state == CalculationState.DONE}
        known = conformers.several(connection, list(done.values()))
    return [None if one.job not in done else known[done[one.job]] for one in asked]


def _derived(first: Entry, name: str, step: Step, level: LevelOfTheory, geometry: Conformer | None) -> Entry:
    """One of the other calculations of a record."""
    entry = Entry(first.name, first.smiles, where=first.where, level=level)
    if first.refusal is not None or first.molecule is None:
        entry.refusal = first.refusal
        return entry
    entry.molecule, entry.method = first.molecule, first.method
    if step.after is not None:
        if geometry is None:
            entry.refusal = f"{step.after} has no geometry for it"
            return entry
        entry.molecule, entry.method = geometry.molecule, geometry.method if step.at else GENERATED
    if step.at:
        still = level.stages(entry.method)
        entry.level = level.model_copy(
            update={"minimum": False, **({"relaxation": (), "conformers": None} if still else {})}
        )
    entry.charge, entry.spin = first.charge + step.charge, step.spin(first.spin)
    return checked(entry)


def combined(
    connection: Connection, recipe: Recipe, levels: Mapping[str, LevelOfTheory], calculations: Calculations
) -> list[Row]:
    """A row for every record: that of its first calculation, with the quantity and what the others have to say."""
    parts = {name: rows(connection, asked, levels[name]) for name, asked in calculations.items()}
    return [_combined(recipe, dict(zip(parts, found, strict=True))) for found in zip(*parts.values(), strict=True)]


def _combined(recipe: Recipe, parts: Mapping[str, Row]) -> Row:
    first = next(iter(parts.values()))
    row: dict[str, Any] = {}
    for key, value in first.items():
        row[key] = value
        if key == "state":
            row[recipe.column] = None
    missing = [name for name in recipe.calculations if name not in parts]
    bad = {name: one for name, one in parts.items() if one["state"] != CalculationState.DONE}
    if not bad and not missing:
        value = recipe.evaluate({name: one["energy_hartree"] for name, one in parts.items()})
        row[recipe.column] = value if math.isfinite(value) else None
    elif first["state"] == CalculationState.DONE:
        row["state"] = next((str(one["state"]) for one in bad.values()), CalculationState.QUEUED)
        row["reason"] = "; ".join(f"{name}: {one['reason'] or one['state']}" for name, one in bad.items()) or None
    others = [f"{name}: {one['findings']}" for name, one in list(parts.items())[1:] if one["findings"]]
    row["findings"] = "; ".join([*filter(None, [first["findings"]]), *others]) or None
    row["cpu_s"] = sum(one["cpu_s"] or 0.0 for one in parts.values())
    row["reused"] = not missing and all(one["reused"] for one in parts.values())
    return row
