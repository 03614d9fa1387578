"""Exchange out of density-fitted integrals, from orbitals, in single precision.

PySCF expands its packed integrals in every SCF iteration and multiplies them in double precision. Here they are kept once
more as float32, by pairs of functions that overlap, and the exchange matrix of the occupied orbitals is two products in
numpy's BLAS. The Coulomb matrix stays in double precision: it is a hundred times larger, and cheap.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
from pyscf import lib
from pyscf.df import DF

VANISHING: Final = 1e-6  # hartree^1/2; pairs of functions whose repulsion of themselves has a smaller root are left out
AUXILIARY: Final = 64  # auxiliary functions that are expanded at a time
BUFFER_MB: Final = 64  # of half-transformed integrals

Shells = list[tuple[slice, np.ndarray, np.ndarray]]


class ExchangeDF(DF):  # type: ignore[misc]  # PySCF has no types
    """Density fitting of real, symmetric densities made of orbitals; anything else is left to PySCF."""

    _pairs: Shells | None = None
    _pairs_of: np.ndarray | None = None  # the integrals that these were made of

    def get_jk(
        self,
        dm: Any,
        hermi: int = 1,
        with_j: bool = True,
        with_k: bool = True,
        direct_scf_tol: float = 1e-13,
        omega: float | None = None,
    ) -> Any:
        """Coulomb and exchange matrices of a density matrix (functions, functions), or of two."""
        orbitals = _occupied(dm)
        if orbitals is None or not with_k or omega or self.mol.omega:
            return super().get_jk(dm, hermi, with_j, with_k, direct_scf_tol, omega)
        if self._cderi is None:
            self.build()
        if not isinstance(self._cderi, np.ndarray):  # too large for the memory
            return super().get_jk(dm, hermi, with_j, with_k, direct_scf_tol, omega)
        densities = np.asarray(dm).reshape(-1, *np.shape(dm)[-2:])
        coulomb = _coulomb(self._cderi, densities).reshape(np.shape(dm)) if with_j else None
        exchange = np.array([self._exchange(occupied) for occupied in orbitals])
        return coulomb, exchange.reshape(np.shape(dm))

    def _exchange(self, orbitals: np.ndarray) -> np.ndarray:
        """Exchange matrix of orbitals (functions, occupied) that are scaled by the roots of their occupations."""
        if self._pairs is None or self._pairs_of is not self._cderi:
            self._pairs, self._pairs_of = _by_shells(self.mol, self._cderi), self._cderi
        functions, occupied = orbitals.shape
        auxiliary = len(self._cderi)
        single = orbitals.astype(np.float32)
        together = max(1, int(BUFFER_MB * 1e6 / (4 * functions * max(1, occupied))))
        exchange = np.zeros((functions, functions))
        for start in range(0, auxiliary, together):
            stop = min(auxiliary, start + together)
            half = np.empty((functions, stop - start, occupied), dtype=np.float32)
            for own, others, integrals in self._pairs:
                np.matmul(integrals[:, start:stop], single[others], out=half[own])
            flat = half.reshape(functions, -1)
            exchange += flat @ flat.T
        return exchange


def _occupied(dm: Any) -> list[np.ndarray] | None:
    """Occupied orbitals of each spin, scaled by the roots of their occupations; None if the density does not tell them."""
    coefficients: Any = getattr(dm, "mo_coeff", None)
    occupations: Any = getattr(dm, "mo_occ", None)
    if coefficients is None or np.iscomplexobj(dm) or np.ndim(occupations) != np.ndim(dm) - 1:
        return None
    sets = zip(
        np.reshape(coefficients, (-1, *np.shape(coefficients)[-2:])),
        np.reshape(occupations, (-1, np.shape(occupations)[-1])),
        strict=True,
    )
    return [orbitals[:, filled > 0] * np.sqrt(filled[filled > 0]) for orbitals, filled in sets]


def _coulomb(integrals: np.ndarray, densities: np.ndarray) -> np.ndarray:
    """Coulomb matrices of densities, from packed integrals (auxiliary, pairs)."""
    functions = np.arange(densities.shape[-1])
    packed = lib.pack_tril(densities + densities.transpose(0, 2, 1))
    packed[:, functions * (functions + 1) // 2 + functions] *= 0.5
    return np.asarray(lib.unpack_tril((packed @ integrals.T) @ integrals))


def _by_shells(mol: Any, integrals: np.ndarray) -> Shells:
    """Integrals by shell: its functions, those that overlap with it, and (own, auxiliary, others) float32."""
    repulsion = lib.unpack_tril(np.sqrt(np.einsum("pq,pq->q", integrals, integrals)))
    places = mol.ao_loc_nr()
    shells: Shells = []
    for start, stop in pairwise(places):
        others = np.flatnonzero(repulsion[start:stop].max(axis=0) > VANISHING)
        values = np.empty((stop - start, len(integrals), len(others)), dtype=np.float32)
        shells.append((slice(start, stop), others, values))
    for first in range(0, len(integrals), AUXILIARY):
        last = min(len(integrals), first + AUXILIARY)
        square = lib.unpack_tril(integrals[first:last]).astype(np.float32)
        for own, others, values in shells:
            values[:, first:last] = square[:, own][:, :, others].transpose(1, 0, 2)
    return shells
