"""A command's wishes in the generator's terms, checked before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from gapsmith.core import output
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import ModelDomain
from gapsmith.core.settings import settings
from gapsmith.generator.commands import wishes
from gapsmith.generator.commands.leads import Lead
from gapsmith.generator.commands.region import Region
from gapsmith.generator.commands.writing import WRITERS
from gapsmith.generator.sampling import SamplingOptions
from gapsmith.training.card import card_alone, domain_of
from gapsmith.training.devices import usable_device
from gapsmith.training.shipped import shipped

PROPERTIES: Final = {
    "gap": "gap_ev",
    "homo": "homo_ev",
    "lumo": "lumo_ev",
    "dipole": "dipole_debye",
    "polarizability": "polarizability_bohr3",
}


def chosen_weights(options: Mapping[str, Any]) -> Path:
    """The weights that the options, the settings or the installation name."""
    return options["weights"] or shipped("generator", settings())


def known_domain(options: Mapping[str, Any]) -> ModelDomain:
    """What the chosen generator knows; raises CheckpointError if its card is missing or damaged."""
    weights = chosen_weights(options)
    return domain_of(card_alone(weights), weights)


def sampling_of(options: Mapping[str, Any]) -> SamplingOptions:
    """How to sample, by the options that are given."""
    given = {name: options.get(name) for name in ("steps", "temperature", "guidance")}
    given["coordinate_guidance"] = given["guidance"]
    return replace(SamplingOptions(), **{name: value for name, value in given.items() if value is not None})


def check_output(path: Path) -> None:
    """Raise InputError if no such file can be written."""
    output.check_output(path, WRITERS)


@dataclass(frozen=True)
class Request:
    """What somebody asked for."""

    count: int
    targets: Mapping[str, float]  # by property name with unit
    elements: tuple[int, ...] | None  # atomic numbers
    heavy_atoms: tuple[int, int]
    sampling: SamplingOptions
    seed: int
    device: str
    threads: int | None
    weights: Path
    leads: tuple[Lead, ...]  # none: molecules from nothing
    region: Region | None  # of the leads, what may change
    free: tuple[np.ndarray, ...]  # of each lead, the heavy atoms that may change, (heavy atoms,) bool
    depth: float = 1.0
    size_change: int = 1

    @classmethod
    def of(cls, options: Mapping[str, Any], *, leads: tuple[Lead, ...], region: Region | None) -> "Request":
        """Options as click gives them; raises InputError."""
        domain = known_domain(options)
        heavy_atoms = wishes.span(options["heavy_atoms"], "--heavy-atoms", *domain.heavy_atoms)
        size_change = options.get("size_change", 1)
        free = () if region is None else tuple(region.free(lead) for lead in leads)
        for lead, part in zip(leads, free, strict=True):
            _check_sizes(lead, part, heavy_atoms, size_change)
        return cls(
            count=options["count"],
            targets={name: options[key] for key, name in PROPERTIES.items() if options[key] is not None},
            elements=wishes.elements(options["elements"], domain),
            heavy_atoms=heavy_atoms,
            sampling=sampling_of(options),
            seed=options["seed"],
            device=usable_device(options["device"]),
            threads=options["threads"],
            weights=chosen_weights(options),
            leads=leads,
            region=region,
            free=free,
            depth=options.get("depth", 1.0),
            size_change=size_change,
        )


def _check_sizes(lead: Lead, free: np.ndarray, heavy_atoms: tuple[int, int], size_change: int) -> None:
    """Raise InputError if no result can have a wanted number of heavy atoms."""
    total, kept = len(free), int((~free).sum())
    fewest, most = heavy_atoms
    if kept >= most:
        raise InputError(
            f"--heavy-atoms allows at most {most}, but {kept} atoms of {lead.where} are kept; keep fewer or allow more"
        )
    if total + size_change < fewest:
        raise InputError(
            f"--heavy-atoms asks for at least {fewest}, but {lead.where} has {total} and may grow by {size_change}; raise "
            "--size-change"
        )
