"""Ends what a supervisor left behind: ``python -m gapsmith.stack.watchdog MARK``, its input a pipe from the supervisor.

The pipe closes when the supervisor ends, however it ended. Then every process that carries the mark in its environment
is killed: services and whatever they started, in whichever process group. It also reaches what the kernel's
parent-death signal does not: grandchildren, and everything on systems without that signal.
"""

import sys
import time

from gapsmith.stack.processes import end, marked

MARK_VARIABLE = "GAPSMITH_SUPERVISED"
ROUNDS = 20  # a process that forks while it is being looked for is found in the next round


def kill_marked(prefix: str) -> None:
    """Kill every process whose mark begins with ``prefix``, until none is found."""
    for _ in range(ROUNDS):
        found = marked(MARK_VARIABLE, prefix)
        if not found:
            return
        end(found, grace_s=0.0)
        time.sleep(0.02)


def main() -> None:
    """Wait for the end of the input, then kill."""
    sys.stdin.buffer.read()
    kill_marked(sys.argv[1])


if __name__ == "__main__":
    main()
