"""Recipes: quantities that follow from the energies of several calculations of one molecule, as data (``recipes.yaml``)."""

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from gapsmith.core import documents
from gapsmith.core.errors import InputError
from gapsmith.core.hints import hint
from gapsmith.core.levels import Solvent
from gapsmith.core.properties import suffix
from gapsmith.core.strictness import Strict
from gapsmith.core.units import HARTREE_TO_EV

SHIPPED: Final = Path(__file__).with_name("recipes.yaml")
ELECTRODE: Final = "electrode"  # its name in expressions
NAME: Final = r"^[a-z][a-z0-9_]{0,29}$"
OPERATORS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Step(Strict):
    """One calculation: what differs from the molecule as it was asked for."""

    charge: int = Field(0, ge=-4, le=4)
    multiplicity: int | None = Field(None, ge=1, le=21)
    at: str | None = Field(None, description="calculation at whose final geometry it is a single point")
    start: str | None = Field(None, description="calculation from whose final geometry it is relaxed")
    level: str | None = None
    solvent: Solvent | None = None

    @model_validator(mode="after")
    def _one_geometry(self) -> Self:
        if self.at is not None and self.start is not None:
            raise ValueError("give at or start, not both")
        return self

    @property
    def after(self) -> str | None:
        """The calculation whose geometry it needs."""
        return self.at or self.start

    def spin(self, unpaired: int) -> int:
        """Unpaired electrons, where the molecule as it was asked for has ``unpaired``: the fewest unless it says more."""
        if self.multiplicity is not None:
            return self.multiplicity - 1
        return unpaired if self.charge % 2 == 0 else max(unpaired - 1, 1 - unpaired)


class Electrode(Strict):
    """A reference electrode."""

    potential_v: float = Field(gt=-10, lt=10, description="absolute")
    source: str = Field(min_length=1)


class Recipe(Strict):
    """One recipe."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9-]*$")
    about: str = ""
    unit: Literal["eV", "V"]
    electrode: Electrode | None = None
    calculations: Mapping[str, Step] = Field(min_length=1, max_length=20)
    value: str = Field(min_length=1, max_length=500)

    @field_validator("calculations")
    @classmethod
    def _in_order(cls, steps: Mapping[str, Step]) -> Mapping[str, Step]:
        before: list[str] = []
        for name, step in steps.items():
            if not name.isidentifier() or name == ELECTRODE:
                raise ValueError(f"{documents.shown(name)} cannot be the name of a calculation")
            if step.after is not None and step.after not in before:
                raise ValueError(f"{name}: {step.after!r} does not stand before it{hint(step.after, before)}")
            before.append(name)
        first = steps[before[0]]
        if first.charge or first.multiplicity is not None:
            raise ValueError(
                f"{before[0]}: the first one is the molecule as it was asked for, with its charge and spin"
            )
        return steps

    @model_validator(mode="after")
    def _can_be_evaluated(self) -> Self:
        self.evaluate(dict.fromkeys(self.calculations, 1.0))
        return self

    @property
    def column(self) -> str:
        """Name of the column, with the unit: ``ip_ev``."""
        return self.name.replace("-", "_") + suffix(self.unit)

    @property
    def waves(self) -> list[list[str]]:
        """Calculations that can run together, in their order: those of a wave need geometries of earlier ones only."""
        depth: dict[str, int] = {}
        for name, step in self.calculations.items():
            depth[name] = 0 if step.after is None else depth[step.after] + 1
        return [[name for name in depth if depth[name] == level] for level in range(max(depth.values()) + 1)]

    def evaluate(self, energies_hartree: Mapping[str, float]) -> float:
        """The value in its unit; raises ValueError if the expression cannot be evaluated."""
        names = {name: energy * HARTREE_TO_EV for name, energy in energies_hartree.items()}
        if self.electrode is not None:
            names[ELECTRODE] = self.electrode.potential_v
        try:
            return _value(ast.parse(self.value, mode="eval").body, names)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"value: {self.value!r} is not an expression of + - * / and parentheses") from error
        except ZeroDivisionError:
            return float("nan")


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, names)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise ValueError(f"value: {node.id!r} is not the name of a calculation{hint(node.id, names)}")
        return names[node.id]
    raise ValueError(f"value: {documents.shown(ast.unparse(node))} is not a sum, a product or a name")


def load(path: Path | None = None) -> dict[str, Recipe]:
    """The shipped recipes and those of a user's file, which may replace them; raises InputError."""
    documents_read = [_read(SHIPPED), *([] if path is None else [_read(path)])]
    electrodes = {name: one for document in documents_read for name, one in document.get("electrodes", {}).items()}
    written = {name: one for document in documents_read for name, one in document.get("recipes", {}).items()}
    return {name: _recipe(name, keys, electrodes, path or SHIPPED) for name, keys in written.items()}


def find(name: str, path: Path | None = None) -> Recipe:
    """A recipe by name; raises InputError that names the known ones."""
    known = load(path)
    if name not in known:
        raise InputError(f"no recipe is called {name!r}{hint(name, known)}; gapsmith dft recipes lists them")
    return known[name]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    raw = documents.read(path)
    if unknown := set(raw) - {"recipes", "electrodes"}:
        raise InputError(
            f"recipes: {path}: unknown key {documents.shown(min(unknown))}; recipes and electrodes are known"
        )
    for key, value in raw.items():
        if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
            raise InputError(f"recipes: {path}: {key!r} must be a mapping from names to keys")
    return raw


def _recipe(name: str, keys: dict[str, Any], electrodes: Mapping[str, Any], path: Path) -> Recipe:
    electrode = keys.get(ELECTRODE)
    if electrode is not None and electrode not in electrodes:
        known = hint(str(electrode), electrodes)
        raise InputError(f"recipes: {path}: {name!r}: no electrode is called {documents.shown(electrode)}{known}")
    try:
        return Recipe(**{"name": name, **keys} | ({} if electrode is None else {ELECTRODE: electrodes[electrode]}))
    except (ValidationError, TypeError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"recipes: {path}: {name!r}: {error}") from error
        first = error.errors()[0]
        raise InputError(f"recipes: {path}: {name!r}: {documents.place(first['loc'])}: {first['msg']}") from error
