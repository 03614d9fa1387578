"""Prepares a process, then becomes the program: ``python -m gapsmith.stack.launch OPTIONS -- PROGRAM ...``.

What must happen between fork and exec happens here, in a fresh interpreter, because ``preexec_fn`` is not safe in a
process with threads. The process id stays the same, so whoever started it watches the program itself.
"""

import argparse
import contextlib
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def launched(
    argv: Sequence[str], *, die_with: int | None = None, niceness: int = 0, user: str | None = None
) -> list[str]:
    """The command line that runs ``argv`` after this module has prepared the process.

    Args:
        argv: program and arguments.
        die_with: process id of the parent; the kernel kills the program when it dies (Linux only).
        niceness: added to the process's niceness.
        user: to run as; needs root.
    """
    options = ["--nice", str(niceness)] if niceness else []
    options += ["--die-with", str(die_with)] if die_with is not None else []
    options += ["--user", user] if user is not None else []
    return [sys.executable, "-m", "gapsmith.stack.launch", *options, "--", *argv] if options else list(argv)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; ends at once if that happened already."""
    if sys.platform != "linux":
        return  # the supervisor's watchdog does it alone
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)


def become(name: str) -> None:
    """Become an ordinary user but keep the right to pass root's folders, where interpreter and data may lie.

    Postgres refuses to run as root. Opening root's folders to everybody would be the alternative; the capability
    ``CAP_DAC_OVERRIDE`` as an ambient one (capabilities(7)) changes nothing on disk.
    """
    account = pwd.getpwnam(name)
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if sys.platform == "linux":
        mask = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable; low and high words
        if libc.capset(header, sets) == 0:  # not in a container without the capability: ordinary permissions decide
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare this process as the options say, then run the program in its place."""
    parser = argparse.ArgumentParser(prog="gapsmith.stack.launch")
    parser.add_argument("--die-with", type=int)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--user")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args(arguments)
    if options.nice:
        os.nice(options.nice)
        # Linux shares the processor between sessions first; without this, niceness counts inside a session only
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(min(19, os.nice(0))))
    if options.user is not None:
        become(options.user)
    if options.die_with is not None:  # last, since a change of user clears it
        die_with_parent(options.die_with)
    try:
        os.execvp(options.program[0], options.program)
    except OSError as error:
        sys.stderr.write(f"cannot run {options.program[0]}: {error.strerror}\n")
        raise SystemExit(127) from error


if __name__ == "__main__":
    main()
