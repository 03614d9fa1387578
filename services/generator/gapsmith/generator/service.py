"""Requests for molecules in, stored candidates out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import torch

from gapsmith.bus.inlet import Handler, on
from gapsmith.bus.model_service import ModelService
from gapsmith.bus.service import Commit, Interrupted, serve
from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.elements import number_of
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.chemistry.screening import placeable, screen
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.messages import CandidatesProposed, GenerateRequested
from gapsmith.core.model_domain import within
from gapsmith.core.reasons import Reason, ReasonCode
from gapsmith.core.settings import Settings
from gapsmith.data.known import in_qm9
from gapsmith.generator import ROLE
from gapsmith.generator.planting import part_of, planted
from gapsmith.store import audits, campaigns, candidates, requests, selection, tasks
from gapsmith.store.database import Connection
from gapsmith.store.tasks import Task
from gapsmith.training.roles import Sampled, Sampler

DEFAULT_MASK_FRACTION = 0.4


@dataclass(frozen=True)
class Proposal:
    """A generated molecule with what was found out about it before anything is written."""

    molecule: Molecule
    identity: Identity
    known: bool  # in QM9
    refused: Reason | None  # by the campaign's constraints
    parent_id: UUID | None


class GeneratorService(ModelService[Sampler]):
    """Samples molecules for campaigns, from nothing or out of parents."""

    name = "generator"
    role = ROLE

    def handlers(self) -> Sequence[Handler]:
        """Events in."""
        return [on(GenerateRequested, self.on_requested)]

    def setup(self) -> None:
        """Register the shipped weights and load the live ones."""
        torch.set_num_threads(self.settings.threads)
        super().setup()

    def on_requested(self, connection: Connection, event_id: UUID, event: GenerateRequested) -> None:
        """Queue a request, unless the campaign has another target by now."""
        if event.target != campaigns.get(connection, event.campaign_id).config.target.aims:
            return
        tasks.add(
            connection,
            event_id,
            service=self.name,
            kind="generate",
            payload=event.model_dump(mode="json"),
            campaign_id=event.campaign_id,
        )

    def perform(self, task: Task) -> Commit:
        """Sample, judge, and say what to write."""
        request = GenerateRequested.model_validate(task.payload)
        model_id, generator = self.model()
        with self.database.transaction() as connection:
            constraints = campaigns.get(connection, request.campaign_id).config.constraints
            parents = selection.relaxed(connection, request.parents)
        sampled = self._sample(generator, request, constraints, [molecule for _, molecule in parents])
        if self.interrupt.is_set():
            raise Interrupted
        refused, hazards = Counter(sampled.refused), Counter[str]()
        proposals = []
        for molecule, parent in zip(sampled.molecules, sampled.parents, strict=True):
            try:
                mol = to_rdkit(molecule)
                identity = identify(mol)
            except InvalidMolecule as error:
                refused[error.reason] += 1
                continue
            known = in_qm9(identity.inchikey)
            reason = screen(mol, identity, constraints, in_qm9=known)
            if reason is not None and reason.code is ReasonCode.HAZARD:  # such a structure is not kept
                hazards[reason.text.removeprefix("hazard: ")] += 1
                continue
            parent_id = None if parent is None else parents[parent][0]
            proposals.append(Proposal(molecule, identity, known, reason, parent_id))

        def commit(connection: Connection) -> None:
            open_ones = []
            for one in proposals:
                candidate_id, is_open = candidates.propose(
                    connection,
                    request.campaign_id,
                    one.molecule,
                    one.identity,
                    model_id=model_id,
                    in_qm9=one.known,
                    refused=one.refused,
                    parent_id=one.parent_id,
                    mask_fraction=None if one.parent_id is None else request.mask_fraction,
                )
                if is_open:
                    open_ones.append(candidate_id)
            proposed = CandidatesProposed(
                campaign_id=request.campaign_id,
                candidate_ids=tuple(open_ones),
                sampled=sampled.attempts,
                refused=dict(refused + Counter({ReasonCode.HAZARD.value: hazards.total()})),
            )
            audits.refused(connection, request.campaign_id, hazards, source=self.name)
            requests.tell(connection, proposed, source=self.name)

        return commit

    def _sample(
        self, generator: Sampler, request: GenerateRequested, constraints: Constraints, parents: Sequence[Molecule]
    ) -> Sampled:
        """New molecules; out of parents if there are any left to grow them from. What is required is kept or planted."""
        limits = within(constraints, [generator.domain])
        elements = [number_of(symbol) for symbol in placeable(limits, limits.elements or ())]
        # what the generator cannot be asked for, the surrogate judges alone
        conditions = {name: value for name, value in request.target.items() if name in generator.conditions}
        stop = self.interrupt.is_set
        if not parents:
            known = planted(limits)
            return generator.sample(
                request.count,
                conditions,
                request.seed,
                heavy_atoms=request.heavy_atoms,
                elements=elements,
                planted=[known[i] for i in np.random.default_rng(abs(request.seed)).permutation(len(known))],
                should_stop=stop,
            )
        required = [part_of(one, to_rdkit(one), constraints.required_smarts) for one in parents]
        return generator.regrow(
            parents,
            request.count,
            DEFAULT_MASK_FRACTION if request.mask_fraction is None else request.mask_fraction,
            conditions,
            request.seed,
            heavy_atoms=request.heavy_atoms,
            elements=elements,
            free=[
                np.ones(int((one.numbers != 1).sum()), dtype=bool) if part is None else ~part.kept
                for one, part in zip(parents, required, strict=True)
            ],
            should_stop=stop,
        )


def main(settings: Settings) -> None:
    """Entry point ``gapsmith.services``."""
    serve(GeneratorService, settings)
