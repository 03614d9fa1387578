"""Exchange in single precision against PySCF's own in double precision."""

import numpy as np
import pytest
from pyscf import df, dft, gto, lib

from gapsmith.dft_queue.exchange import ExchangeDF

GLYCINE = """N 1.94 0.06 -0.18;
C 0.62 -0.55 -0.01; C -0.55 0.42 0.02; O -0.46 1.62 -0.09; O -1.72 -0.22 0.16; H -2.42 0.45 0.17;
H 0.47 -1.27 -0.82; H 0.58 -1.12 0.93; H 2.01 0.85 0.46; H 2.02 0.46 -1.11"""
AUXILIARY = "def2-universal-jkfit"


@pytest.mark.parametrize(("charge", "spin"), [(0, 0), (1, 1)])
def test_the_matrices_are_pyscfs(charge: int, spin: int) -> None:
    mol = gto.M(atom=GLYCINE, basis="6-31g(d)", charge=charge, spin=spin, verbose=0)
    field = (dft.UKS if spin else dft.RKS)(mol, xc="b3lyp").density_fit(auxbasis=AUXILIARY)
    field.max_cycle = 2
    field.kernel()
    density = field.make_rdm1()
    coulomb, exchange = ExchangeDF(mol, auxbasis=AUXILIARY).get_jk(density)
    wanted_coulomb, wanted_exchange = df.DF(mol, auxbasis=AUXILIARY).get_jk(density)
    assert np.shape(exchange) == np.shape(density)
    np.testing.assert_allclose(coulomb, wanted_coulomb, atol=1e-10)
    np.testing.assert_allclose(exchange, wanted_exchange, atol=2e-5)
    energies = [float(np.sum(matrix * density)) / 4 for matrix in (exchange, wanted_exchange)]
    assert energies[0] == pytest.approx(energies[1], abs=2e-5)


def test_a_density_without_orbitals_is_left_to_pyscf() -> None:
    mol = gto.M(atom="O 0 0 0; H 0 0.76 0.59; H 0 -0.76 0.59", basis="6-31g", verbose=0)
    density = np.random.default_rng(1).normal(size=(mol.nao, mol.nao))
    density += density.T
    ours, pyscfs = ExchangeDF(mol, auxbasis="weigend"), df.DF(mol, auxbasis="weigend")
    np.testing.assert_array_equal(ours.get_jk(density)[1], pyscfs.get_jk(density)[1])
    tagged = lib.tag_array(density, mo_coeff=np.eye(mol.nao), mo_occ=np.zeros(mol.nao))
    np.testing.assert_array_equal(ours.get_jk(tagged)[1], np.zeros_like(density))  # the orbitals are what counts
