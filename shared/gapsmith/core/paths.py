"""Folders of gapsmith on this machine."""

import os
from pathlib import Path


def home() -> Path:
    """Data of the embedded stack and of campaigns: ``GAPSMITH_HOME`` or ``~/.local/share/gapsmith``."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("GAPSMITH_HOME") or Path(base) / "gapsmith").expanduser().resolve()


def cache() -> Path:
    """What can be made again: ``GAPSMITH_CACHE`` or ``~/.cache/gapsmith``."""
    if explicit := os.environ.get("GAPSMITH_CACHE"):
        return Path(explicit).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(base) / "gapsmith").expanduser().resolve()
