"""Signals that ask a command to end."""

import signal


def ending() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM and, unless it is ignored as under nohup, the end of the terminal."""
    hangs_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else []))
