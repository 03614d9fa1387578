"""What people see of a collection: a progress bar while it grows, and what became of all attempts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gapsmith.core.terminal import bar
from gapsmith.generator.commands.collecting import Collection


@contextmanager
def progress(wanted: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing in a pipe; to be told the molecules found and the attempts made."""
    with bar("molecules", total=wanted) as shown:
        yield lambda found, attempts: shown.show(found, wanted, words=f"{attempts} attempts")


def reasons(result: Collection) -> str:
    """What became of the attempts that gave nothing."""
    parts = [f"refused for {reason}: {count}" for reason, count in result.refused.most_common()]
    parts += [f"duplicates: {result.duplicates}"] if result.duplicates else []
    parts += [f"the lead again: {result.parents_again}"] if result.parents_again else []
    parts += [f"more than wanted: {result.surplus}"] if result.surplus else []
    return ", ".join(parts) or "none refused"


def summary(result: Collection, output: Path) -> list[str]:
    """The end of a command, in lines."""
    found = len(result.found)
    known = sum(one.in_qm9 for one in result.found)
    speed = found / max(result.seconds, 1e-9)
    return [
        f"molecules  {found}, all valid and different; {known} known in QM9",
        f"attempts   {result.attempts}; {reasons(result)}",
        f"time       {result.seconds:.1f} s, {speed:.2g} molecules a second",
        f"file       {output}",
    ]
