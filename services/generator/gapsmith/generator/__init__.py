"""The generator: molecules with a wanted gap by masked diffusion."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).parent / "weights" / "generator-0.safetensors"  # entry point gapsmith.weights
ROLE: Final = "generator"
ARCHITECTURE: Final = "masked_diffusion"  # the name of its entry point in gapsmith.trainables
