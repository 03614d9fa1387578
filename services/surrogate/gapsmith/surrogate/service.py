"""Proposed candidates in, scored ones out; takes up a newly promoted model without a restart."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID, uuid5

import structlog
import torch

from gapsmith.bus.inlet import Handler, on
from gapsmith.bus.model_service import ModelService
from gapsmith.bus.service import Commit, Interrupted, serve
from gapsmith.core import properties
from gapsmith.core.chemistry.geometry import same_connectivity
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError
from gapsmith.core.messages import MOST_CANDIDATES, CandidatesProposed, CandidatesScored, ModelPromoted
from gapsmith.core.reasons import ReasonCode
from gapsmith.core.settings import Settings
from gapsmith.core.xtb import METHOD, Relaxed, relax
from gapsmith.store import candidates, models, outbox, selection, tasks
from gapsmith.store.database import Connection
from gapsmith.store.tasks import MOST_ATTEMPTS, Task
from gapsmith.surrogate import ROLE
from gapsmith.training.roles import Surrogate

log = structlog.get_logger()

CHUNK = 8  # candidates of a task: the coordinator hears of them every few seconds


class Accepted(NamedTuple):
    """A candidate whose bonds survived the relaxation."""

    id: UUID
    molecule_id: int
    molecule: Molecule  # at the relaxed geometry
    relaxed: Relaxed


class SurrogateService(ModelService[Surrogate]):
    """Relaxes candidates with GFN2-xTB and predicts their gaps."""

    name = "surrogate"
    role = ROLE

    def handlers(self) -> Sequence[Handler]:
        """Events in."""
        return [on(CandidatesProposed, self.on_proposed), on(ModelPromoted, self.on_promoted)]

    def setup(self) -> None:
        """Register the shipped weights and load the live ones."""
        torch.set_num_threads(self.settings.threads)
        super().setup()

    def on_proposed(self, connection: Connection, event_id: UUID, event: CandidatesProposed) -> None:
        """Queue candidates for scoring, a few at a time."""
        for first in range(0, len(event.candidate_ids), CHUNK):
            chunk = [str(candidate) for candidate in event.candidate_ids[first : first + CHUNK]]
            tasks.add(
                connection,
                uuid5(event_id, str(first)),
                service=self.name,
                kind="score",
                payload={"candidate_ids": chunk},
                campaign_id=event.campaign_id,
            )

    def on_promoted(self, connection: Connection, event_id: UUID, event: ModelPromoted) -> None:
        """Queue a second judgement of what waits for DFT."""
        if event.role == ROLE:
            tasks.add(connection, event_id, service=self.name, kind="rescore", payload={}, priority=10)

    def perform(self, task: Task) -> Commit:
        """Score or rescore."""
        return self._rescore() if task.kind == "rescore" else self._score(task)

    def _score(self, task: Task) -> Commit:
        assert task.campaign_id is not None  # a score task always has one
        campaign_id = task.campaign_id
        model_id, predictor = self.model()
        with self.database.transaction() as connection:
            open_ones = selection.to_score(connection, [UUID(text) for text in task.payload["candidate_ids"]])
        accepted: list[Accepted] = []
        refused: list[tuple[UUID, ReasonCode]] = []
        for candidate_id, molecule, molecule_id in open_ones:
            if self.interrupt.is_set():
                raise Interrupted
            if task.attempts >= MOST_ATTEMPTS:  # one of them ends the process or the task each time
                refused.append((candidate_id, ReasonCode.QUARANTINED))
                continue
            outcome = relax_candidate(molecule)
            if isinstance(outcome, ReasonCode):
                refused.append((candidate_id, outcome))
            else:
                after = replace(molecule, coordinates=outcome.coordinates)
                accepted.append(Accepted(candidate_id, molecule_id, after, outcome))
        predicted = predictor.predict([(one.molecule.numbers, one.molecule.coordinates) for one in accepted])
        refused += [
            (one.id, ReasonCode.RELAXATION_FAILED)  # the relaxed geometry's electronic structure
            for one, there in zip(accepted, predicted.there, strict=True)
            if not there
        ]
        scored = [
            (one, candidates.Prediction(one.id, values, bool(out), together))
            for one, values, out, there, together in zip(
                accepted,
                predicted.properties(),
                predicted.out_of_distribution,
                predicted.there,
                predicted.correlations(),
                strict=True,
            )
            if there
        ]

        def commit(connection: Connection) -> None:
            for candidate_id, reason in refused:
                candidates.reject(connection, candidate_id, reason)
            for one, prediction in scored:
                conformer_id = candidates.add_conformer(
                    connection,
                    one.molecule,
                    method=METHOD.lower(),
                    molecule_id=one.molecule_id,
                    energy_hartree=one.relaxed.energy_hartree,
                    properties=properties.computed(one.relaxed.result),
                )
                candidates.score(connection, conformer_id, prediction, model_id)
            live = models.live(connection, ROLE)
            if live is not None and live.id not in {model_id, self.unusable}:  # promoted in the meantime
                again = uuid5(task.id, str(live.id))
                tasks.add(connection, again, service=self.name, kind="rescore", payload={}, priority=10)
            ids = tuple(one.id for one, _ in scored)
            event = CandidatesScored(campaign_id=campaign_id, candidate_ids=ids, model_id=model_id)
            outbox.emit(connection, event, source=self.name)

        return commit

    def _rescore(self) -> Commit:
        model_id, predictor = self.model()
        with self.database.transaction() as connection:
            waiting = selection.to_rescore(connection, model_id)
        predicted = predictor.predict([(molecule.numbers, molecule.coordinates) for _, _, molecule in waiting])
        found, together, predictions = predicted.properties(), predicted.correlations(), []
        by_campaign: dict[UUID, list[UUID]] = {}
        for index, (candidate_id, campaign_id, _) in enumerate(waiting):
            if predicted.there[index]:  # else the earlier model's prediction stands
                out = bool(predicted.out_of_distribution[index])
                predictions.append(candidates.Prediction(candidate_id, found[index], out, together[index]))
                by_campaign.setdefault(campaign_id, []).append(candidate_id)

        def commit(connection: Connection) -> None:
            candidates.predict(connection, predictions, model_id)
            for campaign_id, ids in by_campaign.items():
                for start in range(0, len(ids), MOST_CANDIDATES):
                    some = tuple(ids[start : start + MOST_CANDIDATES])
                    scored = CandidatesScored(
                        campaign_id=campaign_id, candidate_ids=some, model_id=model_id, rescored=True
                    )
                    outbox.emit(connection, scored, source=self.name)

        return commit


def relax_candidate(molecule: Molecule) -> Relaxed | ReasonCode:
    """The relaxed molecule, or why it is refused: the relaxation fails or changes the bonds."""
    try:
        relaxed = relax(molecule.numbers, molecule.coordinates, charge=int(molecule.charges.sum()))
    except CalculationError as error:
        log.info("candidate refused", reason=ReasonCode.RELAXATION_FAILED, detail=error.reason)
        return ReasonCode.RELAXATION_FAILED
    if not same_connectivity(molecule, relaxed.coordinates):
        return ReasonCode.BONDS_CHANGED
    return relaxed


def main(settings: Settings) -> None:
    """Entry point ``gapsmith.services``."""
    serve(SurrogateService, settings)
