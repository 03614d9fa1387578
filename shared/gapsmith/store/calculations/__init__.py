"""Calculations: asked for by content, worked on under leases. Only this package changes them."""

from gapsmith.store.calculations.asking import open_of, release_from, request, sharing, take_over
from gapsmith.store.calculations.rows import Calculation, Ended, Result, conformers, ended, get, waiting
from gapsmith.store.calculations.working import (
    BUDGET,
    RETRY_AFTER_S,
    announce,
    cancel,
    claim,
    fail,
    finish,
    release,
    renew,
    sweep,
)

__all__ = [
    "BUDGET",
    "RETRY_AFTER_S",
    "Calculation",
    "Ended",
    "Result",
    "announce",
    "cancel",
    "claim",
    "conformers",
    "ended",
    "fail",
    "finish",
    "get",
    "open_of",
    "release",
    "release_from",
    "renew",
    "request",
    "sharing",
    "sweep",
    "take_over",
    "waiting",
]
