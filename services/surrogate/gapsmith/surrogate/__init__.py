"""The surrogate: predicted properties with error bars."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).parent / "weights" / "surrogate-0.safetensors"  # entry point gapsmith.weights
ROLE: Final = "surrogate"
ARCHITECTURE: Final = "equivariant_gnn"  # the name of its entry point in gapsmith.trainables
