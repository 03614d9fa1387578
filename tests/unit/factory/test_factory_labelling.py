"""Outcomes of the queue become labels; what says nothing about a molecule leaves it without one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from gapsmith.core.levels import shipped
from gapsmith.data.label_sets import load
from gapsmith.factory.labelling import Labelling
from gapsmith.factory.making import Chunk, make
from gapsmith.factory.pools import Draft
from gapsmith.factory.shards import LabelSetWriter
from gapsmith.store import calculations
from gapsmith.store.calculations import Ended

TRIAGE = shipped()["triage"]


class NoDatabase:
    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield None


def outcome(one: UUID, state: str, failure_class: str | None = None) -> Ended:
    done = state == "done"
    homo, lumo, energy, dipole = (-7.0, -1.0, -100.0, 1.5) if done else (None, None, None, None)
    return Ended(one, state, homo, lumo, energy, dipole, (0.1,) * 6 if done else None, "diis" if done else None, 3.0,
                   {"pyscf": "2"}, failure_class, failure_class and "reason")  # fmt: skip


@pytest.mark.parametrize(
    ("state", "failure_class", "labelled", "undecided"),
    [
        ("done", None, True, 0),
        ("failed", "chemistry", True, 0),
        ("failed", "compute_lost", False, 1),
        ("failed", "poison", False, 1),
        ("cancelled", None, False, 1),
    ],
)
def test_only_what_the_molecule_decided_is_stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    failure_class: str | None,
    labelled: bool,
    undecided: int,
) -> None:
    from rdkit import Chem

    from gapsmith.core.chemistry.conversion import from_rdkit
    from gapsmith.core.chemistry.embedding import embed

    writer = LabelSetWriter(tmp_path, pool="generated", seed=0, provenance={})
    writer.add_chunks([Chunk(0, [make(Draft(from_rdkit(embed(Chem.MolFromSmiles("CO")))), set(), novel=False)])])
    key = next(iter(writer.molecules))
    job = uuid4()

    def ended(connection: Any, ids: Sequence[UUID]) -> list[Ended]:
        return [outcome(one, state, failure_class) for one in ids]

    monkeypatch.setattr(calculations, "ended", ended)
    asked = Labelling(writer, NoDatabase(), TRIAGE)  # type: ignore[arg-type]
    asked._waiting[job] = key
    asked.wait(lambda: False, lambda labels, left: None)
    asked.flush()
    assert asked.undecided == undecided
    assert bool(writer.unlabelled(TRIAGE)) is not labelled
    found = load(tmp_path).of_level("triage")
    if labelled:
        assert found is not None
        assert found.there.tolist() == [state == "done"]
        assert found.failures == ({} if state == "done" else {0: "chemistry: reason"})
    else:
        assert found is None
