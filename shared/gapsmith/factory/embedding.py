"""First geometries of molecules that are only known as graphs: distance geometry, then a force field if it knows them."""

from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry import from_rdkit
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule

ITERATIONS = 30  # of distance geometry before it gives up
FORCE_FIELD_STEPS = 300


def embedded(mol: Chem.Mol, seed: int) -> Molecule:
    """A molecule with hydrogens and a rough geometry.

    Args:
        mol: sanitised, hydrogens implicit.
        seed: of the distance geometry, up to 31 bits.

    Raises:
        InvalidMolecule: no geometry was found.
    """
    with BlockLogs():
        whole = Chem.AddHs(mol)
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed, parameters.maxIterations = seed % 2**31, ITERATIONS
        if rdDistGeom.EmbedMolecule(whole, parameters) != 0:
            raise InvalidMolecule("geometry", f"{Chem.MolToSmiles(mol)}: no geometry could be embedded")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(whole):
            rdForceFieldHelpers.MMFFOptimizeMolecule(whole, maxIters=FORCE_FIELD_STEPS)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(whole):
            rdForceFieldHelpers.UFFOptimizeMolecule(whole, maxIters=FORCE_FIELD_STEPS)
        return from_rdkit(whole)
