"""Nuclear gradient of a restricted, density-fitted hybrid GGA, faster than PySCF's.

Three things make the difference. All two-electron terms are one contraction of the three-centre derivative integrals, made
once; derivatives of the auxiliary functions follow from translational invariance and are not computed; and the
exchange-correlation term is contracted with the density through its occupied orbitals, in single precision. Density fitting:
the derivative of E = 1/2 (D|P)(P|Q)^-1(Q|D) and of the exchange likewise (Weigend, Phys. Chem. Chem. Phys. 4, 4285 (2002)).
"""

from typing import Any, Final

import numpy as np
import scipy.linalg
from pyscf import lib
from pyscf.df import addons, incore
from pyscf.dft.numint import NumInt

from gapsmith.dft_queue.integration import in_single_precision

BLOCK_MB: Final = 200  # of derivative integrals at a time
AT_ONCE: Final = 2048  # grid points


def gradient(field: Any) -> np.ndarray:
    """Gradient (atoms, 3) in hartree / bohr of a converged field; what this module does not know is left to PySCF."""
    if not known(field):
        return np.asarray(field.nuc_grad_method().kernel())
    mol, functions = field.mol, field.nuc_grad_method()
    density, weighted = field.make_rdm1(), functions.make_rdm1e()
    core, overlap = functions.hcore_generator(mol), functions.get_ovlp(mol)
    found = np.asarray(functions.grad_nuc())
    spans = mol.aoslice_by_atom()[:, 2:]
    for atom, (start, stop) in enumerate(spans):
        found[atom] += np.einsum("xij,ij->x", core(atom), density)
        found[atom] -= 2 * np.einsum("xij,ij->x", overlap[:, start:stop], weighted[start:stop])
    by_function, by_auxiliary, aux_spans = _two_electron(field)
    by_function += _exchange_correlation(field)
    for atom, (start, stop) in enumerate(spans):
        found[atom] += by_function[:, start:stop].sum(axis=1)
    for atom, (start, stop) in enumerate(aux_spans):
        found[atom] += by_auxiliary[:, start:stop].sum(axis=1)
    return found + functions.get_dispersion() if field.do_disp() else found


def known(field: Any) -> bool:
    """Whether a field is of the kind that this module differentiates."""
    integrator = getattr(field, "_numint", None)
    if not isinstance(integrator, NumInt):  # on a GPU
        return False
    omega, _, _ = integrator.rsh_and_hybrid_coeff(field.xc)
    fitted = getattr(field, "with_df", None)
    return bool(
        np.ndim(field.mo_coeff) == 2
        and fitted is not None
        and isinstance(fitted._cderi, np.ndarray)
        and integrator._xc_type(field.xc) == "GGA"
        and omega == 0
        and not field.do_nlc()
        and not hasattr(field, "with_solvent")
        and set(np.unique(field.mo_occ)) <= {0.0, 2.0}
    )


def _two_electron(field: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients (3, functions) and (3, auxiliary functions), and the auxiliary functions' spans by atom (atoms, 2)."""
    mol, fitted = field.mol, field.with_df
    auxiliary = fitted.auxmol if fitted.auxmol is not None else addons.make_auxmol(mol, fitted.auxbasis)
    share = field._numint.hybrid_coeff(field.xc)
    occupied = field.mo_coeff[:, field.mo_occ > 0]
    density = field.make_rdm1()
    metric = auxiliary.intor("int2c2e")
    pairs = np.concatenate([_in_occupied(lib.unpack_tril(block), occupied) for block in fitted.loop()])
    # (P|Q)^-1 (Q|ij): what density fitting keeps is this with the inverse of the Cholesky factor only
    factor = np.linalg.cholesky(metric)
    coefficients = scipy.linalg.solve_triangular(factor, pairs.reshape(len(pairs), -1), trans="T", lower=True)
    coulomb = 2 * coefficients[:, :: occupied.shape[1] + 1].sum(axis=1)  # of the density, twice the diagonal's sum
    weights = np.outer(coulomb, coulomb) - 2 * share * coefficients @ coefficients.T
    by_auxiliary = np.einsum("xpq,pq->xp", auxiliary.intor("int2c2e_ip1"), weights)  # signs and halves cancel
    by_function = np.zeros((3, mol.nao))
    count = occupied.shape[1]
    shells = auxiliary.ao_loc_nr()
    width = max(1, int(BLOCK_MB * 1e6 / (3 * 8 * mol.nao**2)))
    first = 0
    while first < auxiliary.nbas:
        last = max(first + 1, int(np.searchsorted(shells, shells[first] + width, side="right")) - 1)
        span = slice(shells[first], shells[last])
        integrals = incore.aux_e2(
            mol, auxiliary, "int3c2e_ip1", aosym="s1", shls_slice=(0, mol.nbas, 0, mol.nbas, first, last)
        )
        fitted_pairs = coefficients[span].reshape(-1, count, count)
        exchange = occupied @ (fitted_pairs @ occupied.T)  # (block, functions, functions)
        effective = coulomb[span, None, None] * density - 2 * share * exchange
        contracted = np.einsum("xmnp,pmn->xmp", integrals, effective)
        by_function -= 2 * contracted.sum(axis=2)
        by_auxiliary[:, span] += 2 * contracted.sum(axis=1)
        first = last
    return by_function, by_auxiliary, auxiliary.aoslice_by_atom()[:, 2:]


def _in_occupied(integrals: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """(block, functions, functions) to (block, occupied, occupied)."""
    half = integrals.reshape(-1, len(occupied)) @ occupied
    return np.asarray(occupied.T @ half.reshape(len(integrals), len(occupied), -1))


def _exchange_correlation(field: Any) -> np.ndarray:
    """Gradient (3, functions); the grid stays where it is, as in PySCF by default."""
    mol, grids, integrator = field.mol, field.grids, field._numint
    occupied = in_single_precision(field.mo_coeff[:, field.mo_occ > 0] * np.sqrt(2.0))
    found = np.zeros((3, mol.nao))
    for start in range(0, len(grids.weights), AT_ONCE):
        points, weights = grids.coords[start : start + AT_ONCE], grids.weights[start : start + AT_ONCE]
        values = in_single_precision(integrator.eval_ao(mol, points, deriv=2).transpose(0, 2, 1))
        psi = [occupied.T @ part for part in values[:4]]
        rho = np.stack([np.einsum("ip,ip->p", psi[0], part, dtype=np.float64) for part in psi])
        rho[1:] *= 2.0
        derivative = integrator.eval_xc_eff(field.xc, rho, deriv=1, xctype="GGA", spin=0)[1]
        factors = in_single_precision(derivative * weights)
        factors[0] *= 0.5
        scaled = occupied @ sum(factor * part for factor, part in zip(factors, psi, strict=True))
        plain = occupied @ psi[0]
        for axis, second in enumerate(((4, 5, 6), (5, 7, 8), (6, 8, 9))):
            bent = values[1 + axis] * factors[0]
            for factor, place in zip(factors[1:], second, strict=True):
                bent += factor * values[place]
            found[axis] -= 2 * np.einsum("ip,ip->i", values[1 + axis], scaled, dtype=np.float64)
            found[axis] -= 2 * np.einsum("ip,ip->i", bent, plain, dtype=np.float64)
    return found
