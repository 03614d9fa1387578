"""Numbers of models, side by side, without a database."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gapsmith.core.errors import InputError
from gapsmith.store.model_story import Entry
from gapsmith.trainer.commands.models_compare import Comparison, as_document, rows
from gapsmith.training.model_metrics import labels_held_out, measured, numbers, scores, text

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def model(version: int, metrics: Mapping[str, Any], parent: int | None = None, role: str = "surrogate") -> Entry:
    """A row of the registry."""
    return Entry(
        id=UUID(int=version),
        role=role,
        architecture="equivariant_gnn",
        version=version,
        parent_id=None if parent is None else UUID(int=parent),
        state="retired",
        path=str(Path("/nowhere") / f"{version}.safetensors"),
        sha256="0",
        metrics=metrics,
        labels=4 * version,
        verdict=None,
        parent_version=parent,
        campaign=None,
        created_at=NOW,
        live_since=None,
    )


def judged(own: float, live: float, labels: int = 2) -> dict[str, Any]:
    """Metrics as the trainer stores them."""
    return {
        "candidate": {"base_gap_mae_ev": own, "held_out_error_ev": [own] * labels},
        "live": {"base_gap_mae_ev": live, "held_out_error_ev": [live] * labels},
        "held_out": {"gap_mae_ev": own},
        "training": {"steps": 10},
    }


def test_numbers_go_by_their_path_and_lists_by_their_mean() -> None:
    part = {"a": 1, "b": {"c": 0.5, "d": {"e": -2}}, "list": [1, 2, 6], "pairs": [[1, 2]], "yes": True, "none": None}
    assert dict(numbers(part)) == {"a": 1.0, "b.c": 0.5, "b.d.e": -2.0, "list, mean": 3.0}
    assert dict(numbers({"list": [1.0, None]})) == {}  # what was not finite is stored as null


def test_a_model_is_told_apart_from_the_one_it_was_to_replace() -> None:
    metrics = judged(0.1, 0.2, labels=3)
    assert measured(metrics)["base_gap_mae_ev"] == 0.1
    assert scores(metrics, "live")["base_gap_mae_ev"] == 0.2
    assert labels_held_out(metrics) == 3
    assert labels_held_out({}) is None
    assert "training.steps" not in measured(metrics)


def test_counts_are_written_in_full() -> None:
    assert [text(value) for value in (841408.0, 0.123456789, None)] == ["841408", "0.12346", ""]


def test_relatives_are_compared_on_the_child_s_labels_whichever_comes_first() -> None:
    parent, child = model(1, judged(0.1, 0.9), parent=0), model(2, judged(0.3, 0.4), parent=1)
    forward, backward = as_document(Comparison.of(parent, child)), as_document(Comparison.of(child, parent))
    assert forward["metrics"]["base_gap_mae_ev"] == {"a": 0.4, "b": 0.3, "difference": pytest.approx(-0.1)}
    assert backward["metrics"]["base_gap_mae_ev"] == {"a": 0.3, "b": 0.4, "difference": pytest.approx(0.1)}
    assert forward["metrics"]["labels"] == {"a": 4.0, "b": 8.0, "difference": 4.0}


def test_strangers_are_compared_with_a_warning_and_what_only_one_has_comes_last() -> None:
    one, other = model(1, judged(0.1, 0.9), parent=0), model(3, {**judged(0.3, 0.4, 5), "energy_j": 7.0}, parent=0)
    found = Comparison.of(one, other)
    assert found.first["base_gap_mae_ev"] == 0.1
    assert found.notes == [
        "held-out metrics are on each model's own held-out labels (2 and 5) and say little about which one is better"
    ]
    last = rows(found, terminal=False)[-1]
    assert last == {"metric": "energy_j", "surrogate:1": "", "surrogate:3": "7.0", "difference": ""}


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="itself"):
        Comparison.of(model(1, {}), model(1, {}))
    with pytest.raises(InputError, match="different roles"):
        Comparison.of(model(1, {}), model(2, {}, role="generator"))
