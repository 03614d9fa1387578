"""Levels of theory by name: what is computed and how, as data, so that a user adds one without code."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Literal, Self, cast, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from gapsmith.core import documents
from gapsmith.core.errors import InputError, NotFound
from gapsmith.core.hints import hint
from gapsmith.core.states import NUMBER, States
from gapsmith.core.strictness import Strict

SHIPPED: Final = Path(__file__).with_name("levels.yaml")
ENGINES: Final = "gapsmith.engines"  # group of entry points
GENERATED, GFN2 = "generated", "gfn2-xtb"  # methods of geometries that are no level's own
MOST_MEMORY_MB: Final = 100_000_000
MOST_TIME_S: Final = 1e8
Stage = Literal["gfn2-xtb", "self"]
Property = Literal["polarizability", "frequencies", "excitations", "triplets", "orbitals"]


class Solvent(Strict):
    """An implicit solvent."""

    model: Literal["smd", "pcm", "ddcosmo", "alpb", "cpcm"] = Field(description="the last two: GFN2-xTB's")
    name: str = Field(min_length=1, max_length=60, description="such as toluene")

    def __str__(self) -> str:
        """As it is written in a method: SMD(toluene)."""
        return f"{'ddCOSMO' if self.model == 'ddcosmo' else self.model.upper()}({self.name})"


class Conformers(Strict):
    """A search for a molecule's conformers; the lowest one counts."""

    most: int = Field(
        20, ge=1, le=100, description="relaxed with GFN2-xTB and computed; three times as many are embedded"
    )
    window_kcal: float = Field(
        3.0, gt=0, le=20, description="kcal/mol above the lowest, by GFN2-xTB, up to which they count"
    )


class LevelOfTheory(Strict):
    """One level. Everything but ``name``, ``about``, limits and ``queue`` decides a result and so its identity."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="how it is asked for")
    about: str = Field("", description="one line for people")
    engine: str = Field(description="what computes it: pyscf, tblite, qcengine, or a plug-in")
    method: str = Field(min_length=1, description="the engine's name of a density functional or another method")
    basis: str | None = Field(None, description="basis set, by the engine's name")
    fallback_basis: str | None = Field(None, description="basis set of molecules with an element that basis lacks")
    density_fitting: str | None = Field(None, description="auxiliary basis set; none: exact integrals")
    grid: int | None = Field(None, ge=0, le=9, description="fineness of the integration grid, PySCF's scale")
    solvent: Solvent | None = Field(
        None, description="{model: smd | pcm | ddcosmo, name: toluene}; alpb or cpcm in GFN2-xTB"
    )
    convergence_hartree: float = Field(1e-8, gt=0, lt=1e-2, description="of the SCF energy")
    gradient_convergence: float | None = Field(None, gt=0, lt=1, description="norm of the orbital gradient")
    route: Literal["usual", "other"] = Field(
        "usual", description="of the SCF; other: another first guess, second order at once"
    )
    relaxation: tuple[Stage, ...] = Field((), description="stages before the single point: gfn2-xtb, self")
    conformers: Conformers | None = Field(
        None, description="{most: 20, window_kcal: 3}: search for conformers, take the lowest, average over all"
    )
    most_steps: int = Field(60, gt=0, le=100_000, description="gradients of a relaxation before it counts as failed")
    minimum: bool = Field(False, description="demand that no vibrational mode is imaginary")
    stability: bool = Field(False, description="check that the wave function is a minimum")
    properties: tuple[Property, ...] = Field((), description="beyond energies, gap, dipole and charges")
    states: States = Field(
        default=States(), description="of excitations and triplets: {method: tddft | tda, number: 5} or {up_to_ev: 6}"
    )
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="the engine's own; it refuses those it does not know"
    )
    revision: int = Field(1, gt=0, le=1_000_000, description="raise it when the same keys come to mean other numbers")
    memory_mb: int | None = Field(None, gt=0, le=MOST_MEMORY_MB, description="limit of one job; none: the worker's")
    time_limit_s: float | None = Field(
        None, gt=0, le=MOST_TIME_S, description="wall-time limit of one job; none: the worker's"
    )
    charge: int = Field(0, ge=-10, le=10, description="of molecules that do not say theirs")
    spin: int = Field(0, ge=0, le=20, description="unpaired electrons of molecules that do not say theirs")
    queue: Literal["xtb", "dft"] = Field("dft", description="which workers take it; xtb: those for short jobs")

    @field_validator("relaxation", "properties")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each may be named once")
        return value

    @field_validator("relaxation")
    @classmethod
    def _in_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value == ("self", GFN2):
            raise ValueError("gfn2-xtb comes before self")
        return value

    @model_validator(mode="after")
    def _conformers_are_relaxed(self) -> Self:
        if self.conformers is not None and self._first_stage != GFN2:
            raise ValueError("conformers are relaxed with GFN2-xTB first: relaxation must begin with gfn2-xtb")
        return self

    @property
    def _first_stage(self) -> str | None:
        return GFN2 if self.engine == "tblite" and self.relaxation else next(iter(self.relaxation), None)

    @model_validator(mode="before")
    @classmethod
    def _short_jobs(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("engine") == "tblite":
            return {"queue": "xtb", **raw}
        return raw

    @property  # not cached: model_copy would carry the hash over to another level
    def version(self) -> str:
        """Hash of what decides a result; 16 hexadecimal digits."""
        return self.identity(GENERATED)

    def identity(self, geometry_method: str) -> str:
        """The same for a geometry of some method: stages that it has behind it do not count.

        So a triage of a geometry that is relaxed already is one calculation with a single point there.
        """
        deciding = self.model_dump(mode="json", exclude={"name", "about", "memory_mb", "time_limit_s", "queue"})
        deciding["relaxation"] = self.stages(geometry_method)
        states = deciding.pop("states")
        deciding["excitations"] = states.pop("number") or NUMBER  # which was a key of its own before there were others
        if self.states.model_copy(update={"number": None}) != States():
            deciding["states"] = states
        for later in (
            "fallback_basis",
            "solvent",
            "route",
            "conformers",
        ):  # levels without these keys, which came later, are the same as before
            if deciding[later] == type(self).model_fields[later].default:
                del deciding[later]
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def own_geometry(self) -> str:
        """Method of geometries that were relaxed at this level."""
        parts = (
            self.method,
            None if self.engine == "tblite" else self.basis,
            None if self.solvent is None else str(self.solvent),
        )
        return "/".join(filter(None, parts))

    @classmethod
    def recalled(cls, definition: Mapping[str, Any]) -> Self:
        """A definition that another version of gapsmith may have written: to name it, not to compute with it."""
        return cls.model_validate({key: definition[key] for key in cls.model_fields if key in definition})

    @property
    def method_and_basis(self) -> str:
        """Method and basis set as the field writes them: ``B3LYP/6-31G(2df,p)``."""
        parts = (
            _method_name(self.method),
            _basis_name(self.basis),
            None if self.solvent is None else str(self.solvent),
        )
        return "/".join(filter(None, parts))

    @property
    def theory(self) -> str:
        """Method of the energy // method of the geometry, for molecules that GFN2-xTB has relaxed."""
        return f"{self.method_and_basis}//{self.method_and_basis if 'self' in self.relaxation else _method_name(GFN2)}"

    @property
    def title(self) -> str:
        """What stands with every number: ``B3LYP/6-31G(2df,p)//GFN2-xTB [triage 1f2e3d4c]``, its name and definition hash."""
        return f"{self.theory} [{self.name} {self.version[:8]}]"

    def same_single_point(self, other: "LevelOfTheory") -> bool:
        """Whether both give the same energies at one geometry, so that a difference is one of geometries."""
        geometry = {"relaxation", "conformers", "most_steps", "minimum", "stability", "properties", "states"}
        labels = {"name", "about", "memory_mb", "time_limit_s", "queue", "charge", "spin"}
        return self.model_dump(exclude=geometry | labels) == other.model_dump(exclude=geometry | labels)

    @property
    def other_route(self) -> "LevelOfTheory":
        """The single point of this level by another first guess, second order and exact integrals, to confirm a result."""
        single = {"relaxation": (), "conformers": None, "properties": (), "minimum": False, "stability": False}
        return self.model_copy(update={**single, "route": "other", "density_fitting": None})

    def stages(self, geometry_method: str) -> tuple[Stage, ...]:
        """Stages of the relaxation that a geometry of some method does not have behind it; conformers begin anew."""
        if self.conformers is not None:
            return self.relaxation
        if geometry_method == self.own_geometry:
            return ()
        return tuple(stage for stage in self.relaxation if stage != geometry_method)


_METHODS: Final = {"b3lypg": "B3LYP", "gfn2-xtb": "GFN2-xTB", "gfn1-xtb": "GFN1-xTB"}  # where upper case does not do
_BASES: Final = (  # of names in lower case: what to write in another way
    (r"^(\d+-\d+\+*)g", lambda found: f"{found[1]}G"),
    (r"^def2-([a-z]+)", lambda found: f"def2-{found[1].upper()}"),
    (r"cc-p(c?v)([dtq56])z", lambda found: f"cc-p{found[1].upper()}{found[2].upper()}Z"),
    (r"^sto-(\d)g", lambda found: f"STO-{found[1]}G"),
)


def _method_name(method: str) -> str:
    """A method as it is written by the field; one that was not written in lower case stays."""
    base, hyphen, dispersion = method.partition("-d")
    if hyphen and base.lower() in _METHODS:
        return f"{_METHODS[base.lower()]}-D{dispersion.upper()}"
    return _METHODS.get(method.lower()) or (method.upper() if method.islower() else method)


def _basis_name(basis: str | None) -> str | None:
    if basis is None or not basis.islower():
        return basis
    for pattern, written in _BASES:
        basis = re.sub(pattern, written, basis)
    return basis


class Levels(Mapping[str, LevelOfTheory]):
    """Levels by name; an unknown name is a NotFound that lists the known ones."""

    def __init__(self, levels: Mapping[str, LevelOfTheory]) -> None:
        self._levels = dict(levels)

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The shipped levels and those of a user's file, which may replace shipped ones.

        Raises:
            InputError: the file cannot be read, or a key or value in it is not possible: which one and why.
        """
        written, own = _read(SHIPPED), {} if path is None else _read(path)
        written |= own
        levels = {name: _level(name, written, path or SHIPPED) for name in written}
        for name, level in levels.items():
            if name in own and (reason := _engine_fault(level)):
                raise InputError(f"levels of theory: {path}: {reason}")
        return cls(levels)

    def __getitem__(self, name: str) -> LevelOfTheory:
        """The level of a name."""
        if name not in self._levels:
            raise NotFound(f"no level of theory is called {name!r}; there is: {', '.join(self._levels)}")
        return self._levels[name]

    def __iter__(self) -> Any:
        """Names in the order of the files."""
        return iter(self._levels)

    def __len__(self) -> int:
        """How many."""
        return len(self._levels)


@cache
def shipped() -> Levels:
    """The levels that come with gapsmith."""
    return Levels.load()


@cache
def configured() -> Levels:
    """The levels that this process knows: the shipped ones and those of ``GAPSMITH_LEVELS``; raises InputError."""
    from gapsmith.core.settings import settings

    return Levels.load(settings().levels)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        raw = documents.read(path)
    except InputError as error:
        raise InputError(f"levels of theory: {error}") from error
    levels = raw.get("levels")
    if not isinstance(levels, dict) or not all(isinstance(value, dict) for value in levels.values()):
        raise InputError(
            f"levels of theory: {path} must hold a mapping 'levels' from names to keys; see {SHIPPED.name}"
        )
    if unknown := set(raw) - {"levels"}:
        raise InputError(
            f"levels of theory: {path}: unknown key {documents.shown(min(unknown))}; only 'levels' is known"
        )
    return levels


def _engine_fault(level: LevelOfTheory) -> str | None:
    """What its engine cannot make sense of; nothing where what the engine stands on is not installed."""
    for point in entry_points(group=ENGINES, name=level.engine):
        try:
            return cast("str | None", point.load()().fault(level))
        except ImportError:
            return None
    known = entry_points(group=ENGINES).names
    return f"level {level.name!r}: no engine is called {level.engine!r}{hint(level.engine, known)}"


def _level(name: str, written: Mapping[str, dict[str, Any]], path: Path) -> LevelOfTheory:
    keys: dict[str, Any] = {}
    chain: list[str] = []
    at: Any = name
    while at is not None:
        if not isinstance(at, str) or at in chain or at not in written:
            fault = "extends itself" if at in chain else f"extends {documents.shown(at)}, which is not there"
            raise InputError(f"levels of theory: {path}: {name!r} {fault}; there is: {', '.join(written)}")
        chain.append(at)
        own = dict(written[at])
        at = own.pop("extends", None)
        if len(chain) > 1:
            own.pop("about", None)
        keys = {**own, **keys}
    try:
        level = LevelOfTheory(name=name, **keys)
        if "states" in written[name] and not {"excitations", "triplets"} & set(level.properties):
            raise InputError(
                f"levels of theory: {path}: level {name!r}: states: none are computed; list excitations or triplets under "
                "properties"
            )
        return level
    except (ValidationError, TypeError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"levels of theory: {path}: level {name!r}: {error}") from error
        first = error.errors()[0]
        where = documents.place(first["loc"])
        known = f"; known keys: {', '.join(_keys(first['loc'][:-1]))}" if first["type"] == "extra_forbidden" else ""
        raise InputError(f"levels of theory: {path}: level {name!r}: {where}: {first['msg']}{known}") from error


def _keys(place: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a place of a level."""
    model: type[BaseModel] = LevelOfTheory
    for part in place:
        kind = model.model_fields[str(part)].annotation
        model = next(one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel))
    return list(model.model_fields)
