"""Measurements. Each module has ``measure() -> dict`` and runs alone: ``python -m benchmarks <name>``."""
