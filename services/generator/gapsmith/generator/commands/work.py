"""The generator at work on a request."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version

import torch

from gapsmith.core.errors import InputError
from gapsmith.generator import ARCHITECTURE, ROLE
from gapsmith.generator.commands import wishes
from gapsmith.generator.commands.collecting import Collection, collect
from gapsmith.generator.commands.request import Request
from gapsmith.generator.generator import BATCH, Generated, Generator
from gapsmith.training.protocol import loaded


@dataclass(frozen=True)
class Work:
    """A request and the generator for it."""

    request: Request
    generator: Generator

    @classmethod
    def of(cls, request: Request) -> "Work":
        """Load the generator; raises CheckpointError, or InputError if its architecture cannot do what these commands ask."""
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        generator = loaded(request.weights, role=ROLE, device=request.device)
        if not isinstance(generator, Generator):
            raise InputError(
                f"{request.weights} has an architecture without masks, guidance and depth, which this command sets; "
                f"choose weights of {ARCHITECTURE}"
            )
        return cls(request, generator)

    def warnings(self) -> list[str]:
        """What a person should know about the wanted properties."""
        out = []
        for name, value in self.request.targets.items():
            low, high = self.generator.range_of(name)
            if not low <= value <= high:
                out.append(
                    f"{name} {value:g} is outside what the generator learned from ({low:.3g} to {high:.3g}): expect few "
                    "molecules near it"
                )
        contradiction = wishes.contradiction(self.request.targets)
        return [*out, *([contradiction] if contradiction else [])]

    def collect(self, on_progress: Callable[[int, int], None]) -> Collection:
        """Draw until there are enough."""
        return collect(
            self.request.count,
            self._grown if self.request.leads else self._new,
            self.request.seed,
            most_at_once=BATCH.get(self.request.device.partition(":")[0], BATCH["cpu"]),
            without={lead.identity.inchikey for lead in self.request.leads},
            on_progress=on_progress,
        )

    def tags(self) -> dict[str, object]:
        """What all molecules of this request have in common."""
        request, sampling = self.request, self.request.sampling
        tags: dict[str, object] = {f"target_{name}": value for name, value in request.targets.items()}
        if request.leads:
            tags["depth"] = request.depth
        return tags | {
            "generator": f"gapsmith {version('gapsmith')}",
            "weights_sha256": self.generator.card["sha256"],
            "seed": request.seed,
            "steps": sampling.steps,
            "temperature": sampling.temperature,
            "guidance": sampling.guidance,
            "coordinate_guidance": sampling.coordinate_guidance,
        }

    def _new(self, count: int, seed: int, first: int, on_progress: Callable[[int], None]) -> Generated:
        request = self.request
        return self.generator.sample(
            count,
            request.targets or None,
            seed,
            options=request.sampling,
            heavy_atoms=request.heavy_atoms,
            elements=request.elements,
            on_progress=on_progress,
        )

    def _grown(self, count: int, seed: int, first: int, on_progress: Callable[[int], None]) -> Generated:
        """Leads in turn over all rounds."""
        request = self.request
        assert request.region is not None
        turns = [(first + attempt) % len(request.leads) for attempt in range(count)]
        sampled = self.generator.regrow(
            [request.leads[turn].molecule for turn in turns],
            count,
            request.region.share,
            request.targets or None,
            seed,
            free=[request.free[turn] for turn in turns],
            depth=request.depth,
            size_change=request.size_change,
            options=request.sampling,
            heavy_atoms=request.heavy_atoms,
            elements=request.elements,
            on_progress=on_progress,
        )
        return replace(sampled, parents=[None if parent is None else turns[parent] for parent in sampled.parents])
