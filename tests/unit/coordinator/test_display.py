"""A campaign's progress, with names and molecules as they are."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from uuid import UUID

import pytest

from gapsmith.coordinator.commands.display import watcher
from gapsmith.store.progress import Best, Progress

SMILES = "[O-][n+]1cc[nH]c1"
NOW = Progress(
    by_state={},
    state="running",
    stop_reason=None,
    sampled=10,
    waiting_to_score=1,
    waiting=2,
    rejected=3,
    rejected_by_reason={},
    dft_budget=8,
    dft_done=4,
    dft_running=1,
    dft_queued=0,
    dft_failed=0,
    certifies=True,
    certificates_done=1,
    certificates_open=0,
    hits=2,
    certified_hits=1,
    missed_hits=1,
    uncertified_hits=1,
    usable=7,
    labels=4,
    dft_open=1,
    best=Best(UUID(int=0), 1, SMILES, 4.01, "eV", "4.01 eV", "certificate"),
    model_version=1,
    last_verdict="[bold]not better",
    elapsed_s=60.0,
    wall_time_s=600.0,
    first_dft_at_s=10.0,
)


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.mark.parametrize("stream", [Screen, io.StringIO])
def test_progress_shows_bracket_atoms(stream: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with redirect_stdout(stream()) as out:
        with watcher("a [title]") as view:
            view.show(NOW, ["[note] about :smile:"])
        with watcher("another") as view:
            view.note("[bold]the server is away")
    assert "2 (1 certified, 1 missed)" in out.getvalue()
    for data in (SMILES, "a [title]", "[note] about :smile:", "[bold]the server is away"):
        assert data in out.getvalue()
