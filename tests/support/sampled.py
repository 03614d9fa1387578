"""How many examples a property is tried on."""

from hypothesis import settings


def examples(most: int) -> int:
    """So many, or as few as the profile says: ``make unit`` takes a quick one."""
    return min(most, settings.default.max_examples) if settings.default is not None else most
