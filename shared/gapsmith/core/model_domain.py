"""What a model knows: elements, sizes and properties of the molecules that it was trained on. Stands in its card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gapsmith.core.chemistry.elements import SYMBOLS, number_of
from gapsmith.core.errors import InputError

if TYPE_CHECKING:  # trainings run where pydantic is not installed
    from gapsmith.core.campaign import CampaignConfig, Constraints


@dataclass(frozen=True)
class KnownProperty:
    """A property that a model was trained on."""

    level: str  # level of theory of its labels
    unit: str
    low: float | None = None  # of the training data but for one in a thousand at either end; None if not recorded
    high: float | None = None


@dataclass(frozen=True)
class ModelDomain:
    """The molecules that a model can be asked about."""

    elements: tuple[str, ...]  # symbols by atomic number
    heavy_atoms: tuple[int, int]  # fewest and most atoms other than hydrogen
    properties: Mapping[str, KnownProperty]  # by name, e.g. gap

    @classmethod
    def of(cls, found: Any) -> ModelDomain:
        """Out of a card or the database; raises InputError if something is missing or has another form."""
        try:
            elements = tuple(SYMBOLS[number] for number in sorted(number_of(str(one)) for one in found["elements"]))
            low, high = (int(one) for one in found["heavy_atoms"])
            properties = {str(name): KnownProperty(**one) for name, one in found["properties"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"a domain names elements, heavy_atoms and properties, not {str(found)[:200]} "
                f"({type(error).__name__}: {error})"
            ) from error
        if not elements or not 1 <= low <= high:
            raise InputError(f"a domain holds at least one element and one size, not {elements} and {low} to {high}")
        return cls(elements, (low, high), properties)

    def as_dict(self) -> dict[str, Any]:
        """What ``of`` takes, as JSON would hold it."""
        return {
            "elements": list(self.elements),
            "heavy_atoms": list(self.heavy_atoms),
            "properties": {name: asdict(one) for name, one in self.properties.items()},
        }

    def including(self, molecules: Iterable[Iterable[int]]) -> ModelDomain:
        """The same for a model that was trained further on molecules, given by their atomic numbers."""
        counted = [[int(number) for number in numbers] for numbers in molecules]
        sizes = [sum(number != 1 for number in numbers) for numbers in counted]
        numbers = {number_of(one) for one in self.elements} | {number for one in counted for number in one}
        low, high = self.heavy_atoms
        heavy_atoms = (max(1, min([low, *sizes])), max([high, *sizes]))
        return ModelDomain(tuple(SYMBOLS[number] for number in sorted(numbers)), heavy_atoms, self.properties)

    def refusal(self, numbers: Iterable[int]) -> str | None:
        """Why a molecule lies outside, naming the elements or the size and what is known; None if it lies inside."""
        counted = [int(number) for number in numbers]
        strange = sorted({n for n in counted if not 0 < n < len(SYMBOLS) or SYMBOLS[n] not in self.elements})
        if strange:
            names = ", ".join(SYMBOLS[n] if 0 < n < len(SYMBOLS) else f"atomic number {n}" for n in strange)
            return f"it has {names}; the model knows {', '.join(self.elements)}"
        heavy, (low, high) = sum(number != 1 for number in counted), self.heavy_atoms
        if not low <= heavy <= high:
            return f"it has {heavy} atoms other than hydrogen; the model knows molecules of {low} to {high}"
        return None


def within(constraints: Constraints, domains: Iterable[ModelDomain]) -> Constraints:
    """Constraints with the elements and sizes that every model knows where they name none."""
    known = list(domains)
    if not known:
        return constraints
    shared = [one for one in known[0].elements if one != "H" and all(one in other.elements for other in known)]
    sizes = max(one.heavy_atoms[0] for one in known), min(one.heavy_atoms[1] for one in known)
    return constraints.model_copy(
        update={"elements": constraints.elements or tuple(shared), "heavy_atoms": constraints.heavy_atoms or sizes}
    )


def check_campaign(config: CampaignConfig, domains: Mapping[str, ModelDomain]) -> None:
    """Raise InputError with one line for each constraint or target that lies beyond what a model knows.

    Args:
        config: of the campaign.
        domains: of the live models by name, e.g. ``surrogate:3``.
    """
    problems = []
    for model, domain in domains.items():
        known, (low, high) = ", ".join(domain.elements), domain.heavy_atoms
        if strange := [one for one in config.constraints.elements or () if one not in domain.elements]:
            problems.append(f"constraints.elements: {model} does not know {', '.join(strange)}; it knows {known}")
        fewest, most = config.constraints.heavy_atoms or (low, high)
        if fewest < low or most > high:
            problems.append(
                f"constraints.heavy_atoms: [{fewest}, {most}] goes beyond what {model} knows, {low} to {high} atoms "
                "other than hydrogen"
            )
    if problems:
        raise InputError("\n".join(problems))


def predicted_heads(domains: Mapping[str, ModelDomain]) -> list[str] | None:
    """What the surrogate among some models predicts, by the names of properties; None without a surrogate."""
    known = [domain for model, domain in domains.items() if model.partition(":")[0] == "surrogate"]
    return [name for domain in known for name in domain.properties] if known else None


def warnings(config: CampaignConfig, domains: Mapping[str, ModelDomain]) -> list[str]:
    """What is allowed but likely not meant: a target outside the values that a model was trained on."""
    found = []
    for wanted in config.target.root:
        if (window := wanted.window) is None:
            continue
        ranges = {
            model: (known.low, known.high)
            for model, domain in domains.items()
            if (known := domain.properties.get(wanted.property)) is not None and known.low is not None
        }
        for model, (low, high) in (ranges or {"the surrogate": wanted.kind.usual}).items():
            if high is not None and low is not None and (window.high < low or window.low > high):
                found.append(
                    f"target: {wanted} lies outside {low:.4g} to {high:.4g} {wanted.kind.unit}, the values that {model} was "
                    "trained on: predictions there are extrapolations, and few or no hits are likely"
                )
    return found
