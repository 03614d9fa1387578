"""The cheap part of the stability check: the triplet Hessian among the frontier orbitals, from what the SCF keeps in memory.

The full check (``stability.py``) finds the lowest curvature of the energy against unrestricted wave functions with products
of the whole Hessian, each as expensive as an SCF cycle. The block of the four highest occupied and the four lowest empty
orbitals needs one pass over the fitted integrals, and the kernel at those grid points only where products of these orbitals
are. Its lowest eigenvalue is an upper bound of the whole Hessian's (Cauchy's interlacing theorem).
"""

from typing import Any, Final

import numpy as np
from pyscf import lib

from gapsmith.dft_queue.integration import CachedNumInt

AROUND: Final = 4  # orbitals on either side of the gap
NEGLIGIBLE: Final = 1e-8  # of weight times squared orbital product: points below it are left out


def frontier_curvature(field: Any) -> float | None:
    """Lowest eigenvalue, in hartree, of the frontier orbitals' block of the triplet Hessian of a restricted field.

    None where the SCF does not keep what it takes: density fitting, and values of a GGA on the grid.
    """
    fitted, integration = getattr(field, "with_df", None), field._numint
    blocks = integration.kept(field.mol, field.grids) if isinstance(integration, CachedNumInt) else None
    if fitted is None or blocks is None:
        return None
    occupied, energies = int((field.mo_occ > 0).sum()), field.mo_energy
    first, last = max(0, occupied - AROUND), min(len(energies), occupied + AROUND)
    frontier, filled = field.mo_coeff[:, first:last], occupied - first
    if filled == 0 or first + filled == last:
        return None
    hessian = -_exchange(field, frontier, filled) + 2 * _kernel(field, blocks, frontier, filled)
    hessian += np.diag(np.ravel(energies[occupied:last] - energies[first:occupied, None]))
    return float(np.linalg.eigvalsh(hessian)[0])


def _exchange(field: Any, frontier: np.ndarray, filled: int) -> np.ndarray:
    """Exact exchange's part (pairs, pairs); of range-separated functionals that of both ranges."""
    omega, long_range, everywhere = field._numint.rsh_and_hybrid_coeff(field.xc)
    found = everywhere * _coupling(field.with_df, frontier, filled)
    if omega:
        with field.with_df.range_coulomb(omega) as fitted:
            found += (long_range - everywhere) * _coupling(fitted, frontier, filled)
    return np.asarray(found)


def _coupling(fitted: Any, orbitals: np.ndarray, filled: int) -> np.ndarray:
    """(ij|ab) + (ib|ja), (pairs, pairs), of orbitals (functions, orbitals)."""
    functions, count = orbitals.shape
    parts = []
    for packed in fitted.loop():
        half = (lib.unpack_tril(packed).reshape(-1, functions) @ orbitals).reshape(-1, functions, count)
        parts.append(np.matmul(orbitals.T, half))
    whole = np.concatenate(parts)  # (auxiliary, orbitals, orbitals)
    within, above, between = whole[:, :filled, :filled], whole[:, filled:, filled:], whole[:, :filled, filled:]
    found = np.einsum("xij,xab->iajb", within, above, optimize=True)
    found += np.einsum("xib,xja->iajb", between, between, optimize=True)
    return np.asarray(found.reshape(filled * (count - filled), -1))


def _kernel(field: Any, blocks: Any, frontier: np.ndarray, filled: int) -> np.ndarray:
    """Matrix of the exchange-correlation kernel for flips of a spin, between products of orbitals (pairs, pairs)."""
    integration, occupied = field._numint, field.mo_coeff[:, field.mo_occ > 0].astype(np.float32)
    orbitals = frontier.astype(np.float32)
    pairs = filled * (frontier.shape[1] - filled)
    found = np.zeros((pairs, pairs))
    for functions, values, weights in blocks:
        near = np.matmul(orbitals[functions].T, values)  # (4, orbitals, points), values and gradients
        below, above = near[:, :filled, None], near[:, None, filled:]
        where = (np.abs(below[0] * above[0]).max(axis=(0, 1)) ** 2 * weights) > NEGLIGIBLE
        if not where.any():
            continue
        below, above = below[..., where], above[..., where]
        products = below[0] * above + below * above[0]  # gradients by the product rule; twice the value
        products[0] /= 2
        inside = np.matmul(occupied[functions].T, values[..., where])
        density = np.stack([np.einsum("ip,ip->p", inside[0], part, dtype=np.float64) for part in inside])  # of one spin
        density[1:] *= 2
        both = np.stack([density, density])
        second = integration.eval_xc_eff(field.xc, both, deriv=2, xctype="GGA", spin=1)[2]
        flipped = (second[0, :, 0] - second[0, :, 1]) * weights[where]
        flat = products.reshape(4, pairs, -1).astype(np.float64)
        potential = np.einsum("xyp,ymp->xmp", flipped, flat)
        found += np.tensordot(potential, flat, axes=((0, 2), (0, 2)))
    return found
