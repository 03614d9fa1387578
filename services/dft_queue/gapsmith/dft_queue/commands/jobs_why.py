"""Why a job of the DFT queue is where it is, in words, and what to do about it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gapsmith.core.errors import FailureClass, FailureCode
from gapsmith.core.units import duration
from gapsmith.dft_queue.commands.jobs_show import attempt_lines
from gapsmith.store.job_story import Story, Surroundings

MEANING: Final = {
    FailureClass.TRANSIENT: "It failed for a reason that usually passes, several times, and is not tried again by itself.",
    FailureClass.COMPUTE_LOST: "Its worker was lost with it.",
    FailureClass.CHEMISTRY: "The calculation itself failed. Trying the same again would fail again, so it is not tried again "
    "by itself.",
    FailureClass.POISON: "It is quarantined: nobody touches it again unless you ask for that.",
}
ADVICE: Final = {
    FailureCode.MEMORY: "give it more: memory_mb of the level, or GAPSMITH_DFT_MEMORY_MB of the workers; then retry",
    FailureCode.TIME: "give it longer: time_limit_s of the level, or GAPSMITH_DFT_TIME_LIMIT_S of the workers; then retry",
    FailureCode.DISK: "make room on the worker's disk (its folder for temporary files), then retry",
    FailureCode.PROCESS: "look at its host: memory, the kernel's log (dmesg), the batch system's limits; retry it where "
    "there is more memory",
    FailureCode.MOLECULE: "correct the molecule in its file and ask for it again",
    FailureCode.SPIN: "ask for it again with the right --charge and --spin",
    FailureCode.LEVEL: "choose a level whose method has these elements; gapsmith dft levels lists them",
    FailureCode.SADDLE: "its relaxation ended at a saddle point: start from another geometry",
    FailureCode.RELAXATION: "look at the geometry (gapsmith jobs show --save) and start nearer to a minimum, or raise "
    "most_steps of the level",
    FailureCode.SCF: "look at geometry, charge and spin, for every rung of the SCF ladder was tried: a molecule that is not "
    "a closed shell needs another spin",
    FailureCode.UNCONFIRMED: "look at charge and spin, and at the log: the SCF may have found a state that is not the lowest",
}
IN_GENERAL: Final = {
    FailureClass.TRANSIENT: "see to the cause, then retry",
    FailureClass.COMPUTE_LOST: "look at its host, then retry",
    FailureClass.CHEMISTRY: "look at the geometry, the charge and the spin (gapsmith jobs show --save)",
    FailureClass.POISON: "look at the reason and the end of its log; retry once the cause is gone",
}


def explanation(one: Story, around: Surroundings) -> list[str]:
    """Lines for a person, the first says which job."""
    about = f"{str(one.id)[:8]}: {one.smiles or one.formula} at level {one.level}"
    return [about, *(f"  {line}" for line in WORDS[one.state](one, around))]


def _queued(one: Story, around: Surroundings) -> Iterator[str]:
    waits = duration((one.now - one.created_at).total_seconds())
    yield f"It waits in the queue {one.queue}, with priority {one.priority}, and was asked for {waits} ago."
    if one.failure_reason:
        yield f"Its last attempt failed ({one.failure_class}): {one.failure_reason}. It is tried again by itself."
    if one.due_in_s > 0:
        yield f"It backs off for {duration(one.due_in_s + 0.5)} more."
    held = one.campaign_state not in (None, "running")
    if held:
        yield f"Its campaign {one.campaign} is {one.campaign_state}, and its jobs wait with it."
        yield (
            f"To go on: gapsmith campaign resume {one.campaign}"
            if one.campaign_state == "paused"
            else f"To compute it all the same: gapsmith jobs cancel {str(one.id)[:8]} and then retry"
        )
    if around.workers == 0:
        yield (
            f"No worker that takes the queue {one.queue} (GAPSMITH_DFT_QUEUES) was heard of within the last minute. "
            "To start one: gapsmith up, or gapsmith dft_worker serve"
        )
    for host, until in around.suspended.items():
        yield f"Host {host} gets no jobs until {until.astimezone():%H:%M:%S}: one after another was lost there."
    if not held:
        yield f"{around.ahead} of its queue come before it, and {around.running} are running."


def _running(one: Story, around: Surroundings) -> Iterator[str]:
    since = duration((one.now - one.started_at).total_seconds()) if one.started_at else "an unknown time"
    host = one.attempts[-1].host if one.attempts else "an unknown host"
    yield f"It has been running for {since} on {host}, attempt {len(one.attempts)}" + (
        f", at: {one.progress}." if one.progress else "."
    )
    left = one.lease_left_s or 0.0
    yield (
        f"Its worker {one.lease_owner} holds it for {duration(left)} more and renews that as it works."
        if left > 0
        else f"Its worker {one.lease_owner} has been silent for too long: the job goes back to the queue at any moment."
    )
    yield from _earlier(one, len(one.attempts) - 1)


def _done(one: Story, around: Surroundings) -> Iterator[str]:
    gap = "no gap" if one.gap_ev is None else f"a gap of {one.gap_ev:.3f} eV"
    took = duration(one.wall_s or 0.0)
    yield f"It is done: {gap}, energy {one.energy_hartree:.6f} hartree, computed on {one.host} in {took}."
    if one.rung and one.rung != "diis":
        yield f"Its SCF needed the rung {one.rung} of the ladder, for the plain algorithm did not converge."
    if one.rearranged:
        yield "Bonds changed while it was relaxed: the result belongs to another molecule than the one asked for."
    for finding in one.findings:
        yield f"Finding: {finding}."
    yield from _earlier(one, len(one.attempts) - 1)


def _failed(one: Story, around: Surroundings) -> Iterator[str]:
    failure_class = FailureClass(one.failure_class or FailureClass.CHEMISTRY)
    yield f"It failed ({failure_class}): {one.failure_reason or 'no reason was given'}."
    yield MEANING[failure_class]
    yield from _earlier(one, len(one.attempts))
    hint = ADVICE.get(FailureCode(one.failure_code or FailureCode.OTHER), IN_GENERAL[failure_class])
    yield f"What to do: {hint}."
    yield f"To try again: gapsmith jobs retry {str(one.id)[:8]}"
    for place in one.candidacies:
        yield f"Candidate of campaign {place.campaign}, which is {place.campaign_state}: {place.state}."


def _cancelled(one: Story, around: Surroundings) -> Iterator[str]:
    when = f" {one.finished_at.astimezone():%Y-%m-%d %H:%M:%S}" if one.finished_at else ""
    yield f"It was cancelled{when}: {one.failure_reason or 'the campaign that had asked for it took it back'}."
    for place in one.candidacies:
        yield f"Candidate of campaign {place.campaign}, which is {place.campaign_state}: {place.state}."
    yield from _earlier(one, len(one.attempts))
    yield f"To compute it after all: gapsmith jobs retry {str(one.id)[:8]}"


def _earlier(one: Story, count: int) -> Iterator[str]:
    """The story of the first so many attempts."""
    for line in attempt_lines(one)[: max(0, count)]:
        yield f"Attempt {line}"


WORDS: Final[Mapping[str, Callable[[Story, Surroundings], Iterator[str]]]] = {
    "queued": _queued,
    "running": _running,
    "done": _done,
    "failed": _failed,
    "cancelled": _cancelled,
}
