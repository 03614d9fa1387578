"""Exchange and exchange-correlation response to first-order densities, through their low rank and in single precision.

A first-order density is made of the occupied orbitals C and their change, D = L C^T + C R^T. PySCF multiplies it as if it had
full rank, in double precision, and evaluates the basis functions anew each time. Here a response costs a fifth of that; only
integrals, values on the grid and their products are float32. Relative errors of about 1e-6 end in a polarizability's seventh
digit (tested). Densities of another form, and functionals that are no hybrid GGA, are left to PySCF.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from pyscf import df, lib
from pyscf.dft.numint import NumInt

from gapsmith.dft_queue.integration import Blocks, in_single_precision, values_on_grid

RELATIVE_RESIDUAL: Final = 1e-9  # of a density that is taken to be of that form
SHARE_OF_MEMORY: Final = 0.25  # for integrals, and as much for values on the grid
BLOCK_MB: Final = 50


class OccupiedSpace:
    """Occupied orbitals (functions, orbitals) of each spin, to find in densities."""

    def __init__(self, orbitals: list[np.ndarray], overlap: np.ndarray) -> None:
        """From orbitals that are orthonormal in an overlap matrix (functions, functions)."""
        self.orbitals = orbitals
        self._duals = [overlap @ block for block in orbitals]

    def factors(self, stack: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]] | None:
        """(spin, L, R) of densities (densities, functions, functions), or None if one has another form.

        The first half is of the first spin, where there are two.
        """
        if np.iscomplexobj(stack) or len(stack) % len(self.orbitals):
            return None
        found = []
        for place, density in enumerate(stack):
            spin = place * len(self.orbitals) // len(stack)
            orbitals, dual = self.orbitals[spin], self._duals[spin]
            left, right = density @ dual, density.T @ dual
            inner = dual.T @ left / 2
            left, right = left - orbitals @ inner, right - orbitals @ inner.T
            residual = np.abs(left @ orbitals.T + orbitals @ right.T - density).max(initial=0.0)
            if residual > RELATIVE_RESIDUAL * np.abs(density).max(initial=0.0):
                return None
            found.append((spin, in_single_precision(left), in_single_precision(right)))
        return found


class ResponseDF(df.DF):  # type: ignore[misc]  # PySCF has no types
    """Density fitting whose exchange makes use of the occupied space."""

    def __init__(self, fitted: Any, space: OccupiedSpace) -> None:
        """From PySCF's object, whose integrals are shared."""
        super().__init__(fitted.mol, fitted.auxbasis)
        fitted.get_naoaux()  # builds the integrals if they are not there
        self.auxmol, self._cderi, self._cderi_to_save = fitted.auxmol, fitted._cderi, fitted._cderi_to_save
        self.max_memory, self._rsh_df = fitted.max_memory, fitted._rsh_df
        self._space, self._by_range = space, dict[float, ResponseDF]()
        self._kept: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}

    def get_jk(
        self,
        dm: Any,
        hermi: int = 1,
        with_j: bool = True,
        with_k: bool = True,
        direct_scf_tol: float = 1e-13,
        omega: float | None = None,
    ) -> tuple[Any, Any]:
        """Coulomb and exchange matrices of density matrices (..., functions, functions)."""
        if omega:  # only long-range or short-range exchange
            with self.range_coulomb(omega) as fitted:
                if omega not in self._by_range:
                    self._by_range[omega] = ResponseDF(fitted, self._space)
                return self._by_range[omega].get_jk(dm, hermi, with_j, with_k, direct_scf_tol)
        densities = np.asarray(dm)
        factors = None
        if with_k:
            factors = self._space.factors(densities.reshape(-1, *densities.shape[-2:]))
        if factors is None:
            return super().get_jk(dm, hermi, with_j, with_k, direct_scf_tol)  # type: ignore[no-any-return]  # PySCF has no types
        coulomb = super().get_jk(densities, hermi, True, False, direct_scf_tol)[0] if with_j else None
        functions = densities.shape[-1]
        first, second = np.zeros((2, len(factors), functions, functions))
        for integrals, halves in self._blocks():
            for place, (spin, left, right) in enumerate(factors):
                first[place] += np.matmul(left.T, integrals).reshape(-1, functions).T @ halves[spin]
                if hermi == 0:
                    second[place] += halves[spin].T @ np.matmul(right.T, integrals).reshape(-1, functions)
        exchange = first + (second if hermi == 0 else (-1) ** (hermi - 1) * first.transpose(0, 2, 1))
        return coulomb, exchange.reshape(densities.shape)

    def _blocks(self) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Integrals (auxiliary, functions, functions); by spin (auxiliary x occupied, functions). Kept if there is room."""
        room = SHARE_OF_MEMORY * self.max_memory * 1e6
        for number, packed in enumerate(self.loop()):
            block = self._kept.get(number)
            if block is None:
                integrals = in_single_precision(lib.unpack_tril(packed))
                occupied = [in_single_precision(orbitals.T) for orbitals in self._space.orbitals]
                block = integrals, [np.matmul(rows, integrals).reshape(-1, integrals.shape[-1]) for rows in occupied]
                if room > 0:
                    self._kept[number] = block
            room -= block[0].nbytes + sum(half.nbytes for half in block[1])
            yield block


class BoundedNumInt(NumInt):  # type: ignore[misc]  # PySCF has no types
    """PySCF's integration in blocks of bounded size: by itself it takes gigabytes for second derivatives, and is slower."""

    def block_loop(
        self,
        mol: Any,
        grids: Any,
        nao: int | None = None,
        deriv: int = 0,
        max_memory: float = 2000,
        *rest: Any,
        **more: Any,
    ) -> Any:
        """Blocks of the grid."""
        return super().block_loop(mol, grids, nao, deriv, min(max_memory, BLOCK_MB), *rest, **more)


class ResponseNumInt(BoundedNumInt):
    """Integration whose second derivatives of a GGA make use of the occupied space."""

    def __init__(self, space: OccupiedSpace, blocks_of_scf: Blocks | None = None) -> None:
        """For densities made of some occupied space, with the values on the same grid that an SCF has kept."""
        super().__init__()
        self._space, self._blocks_of_scf = space, blocks_of_scf
        self._kept: tuple[Any, list[tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]]] | None = None

    def nr_rks_fxc(
        self,
        mol: Any,
        grids: Any,
        xc_code: str,
        dm0: Any,
        dms: Any,
        relativity: int = 0,
        hermi: int = 0,
        rho0: Any = None,
        vxc: Any = None,
        fxc: Any = None,
        max_memory: float = 2000,
        verbose: Any = None,
    ) -> Any:
        """Potential matrices of first-order densities; ``fxc`` (4, 4, points) is the kernel."""
        if (factors := self._ours(mol, grids, xc_code, dms, fxc)) is None:
            return super().nr_rks_fxc(
                mol, grids, xc_code, dm0, dms, relativity, hermi, rho0, vxc, fxc, max_memory, verbose
            )
        return self._potential(mol, grids, factors, fxc[None, :, None]).reshape(np.shape(dms))

    def nr_uks_fxc(
        self,
        mol: Any,
        grids: Any,
        xc_code: str,
        dm0: Any,
        dms: Any,
        relativity: int = 0,
        hermi: int = 0,
        rho0: Any = None,
        vxc: Any = None,
        fxc: Any = None,
        max_memory: float = 2000,
        verbose: Any = None,
    ) -> Any:
        """Potential matrices (2, ..., functions, functions) of both spins; ``fxc`` (2, 4, 2, 4, points) is the kernel."""
        if (factors := self._ours(mol, grids, xc_code, dms, fxc)) is None:
            return super().nr_uks_fxc(
                mol, grids, xc_code, dm0, dms, relativity, hermi, rho0, vxc, fxc, max_memory, verbose
            )
        return self._potential(mol, grids, factors, fxc).reshape(np.shape(dms))

    def _ours(
        self, mol: Any, grids: Any, xc_code: str, dms: Any, fxc: Any
    ) -> list[tuple[int, np.ndarray, np.ndarray]] | None:
        size_mb = 4 * grids.size * mol.nao * np.dtype(np.float32).itemsize / 1e6
        if fxc is None or self._xc_type(xc_code) != "GGA" or size_mb > SHARE_OF_MEMORY * mol.max_memory:
            return None
        densities = np.asarray(dms)
        return self._space.factors(densities.reshape(-1, *densities.shape[-2:]))

    def _potential(
        self, mol: Any, grids: Any, factors: list[tuple[int, np.ndarray, np.ndarray]], kernel: np.ndarray
    ) -> np.ndarray:
        """(densities, functions, functions) of densities and a kernel (spins, 4, spins, 4, points)."""
        spins, sets = len(kernel), len(factors) // len(kernel)
        found = np.zeros((spins, sets, mol.nao, mol.nao))
        start = 0
        for functions, values, weights, orbitals in self._blocks(mol, grids):
            points = slice(start, start + len(weights))
            start = points.stop
            weighted = in_single_precision(kernel[..., points] * weights)
            square = np.ix_(functions, functions)
            for place in range(sets):
                density = np.empty((spins, 4, len(weights)), dtype=np.float32)
                for spin in range(spins):
                    _, left, right = factors[spin * sets + place]
                    change = np.matmul(
                        in_single_precision((left + right)[functions].T), values
                    )  # (4, orbitals, points)
                    density[spin] = np.einsum("ip,xip->xp", orbitals[spin][0], change)
                    density[spin, 1:] += np.einsum("ip,xip->xp", change[0], orbitals[spin][1:])
                potential = in_single_precision(np.einsum("sxp,sxtyp->typ", density, weighted))
                potential[:, 0] *= 0.5  # the matrix and its transpose are added below
                for spin in range(spins):
                    scaled = values[0] * potential[spin, 0]
                    for part, factor in zip(values[1:], potential[spin, 1:], strict=True):
                        scaled += part * factor
                    found[spin, place][square] += values[0] @ scaled.T
        found = found.reshape(spins * sets, mol.nao, mol.nao)
        return found + found.transpose(0, 2, 1)

    def _blocks(self, mol: Any, grids: Any) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]]:
        """Blocks as in ``values_on_grid``, each with (4, orbitals, points) of the occupied orbitals of each spin."""
        if self._kept is None or self._kept[0] is not grids.coords:
            occupied = [in_single_precision(orbitals) for orbitals in self._space.orbitals]
            blocks = [
                (functions, values, weights, [in_single_precision(rows[functions].T @ values) for rows in occupied])
                for functions, values, weights in self._blocks_of_scf or values_on_grid(self, mol, grids)
            ]
            self._kept = grids.coords, blocks
        return self._kept[1]
