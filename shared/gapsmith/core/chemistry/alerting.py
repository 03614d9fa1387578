"""Which alert or hazard of ``core.alerts`` a molecule belongs to.

The patterns are the package's own and quick, so that no child process compares them.
"""

from collections.abc import Sequence
from functools import cache

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core import alerts
from gapsmith.core.chemistry.substructure import compile_smarts


def alert(mol: Chem.Mol, names: Sequence[str]) -> str | None:
    """The first of the named alerts that a sanitised molecule belongs to, or None."""
    if not names:
        return None
    flat = _flat(mol)
    known = alerts.alerts()
    return next((name for name in names if any(map(flat.HasSubstructMatch, _compiled(known[name].smarts)))), None)


def hazard(mol: Chem.Mol) -> str | None:
    """The first hazardous class that a sanitised molecule belongs to, or None."""
    flat = _flat(mol)
    for name, one in alerts.hazards().items():
        matches = [match for pattern in _compiled(one.smarts) for match in flat.GetSubstructMatches(pattern)]
        inside = {atom for match in matches for atom in match}
        if len(matches) >= one.groups and len(inside) >= one.share * flat.GetNumHeavyAtoms():
            return name
    return None


def _flat(mol: Chem.Mol) -> Chem.Mol:
    with BlockLogs():
        return Chem.RemoveHs(mol)


@cache
def _compiled(smarts: tuple[str, ...]) -> tuple[Chem.Mol, ...]:
    return tuple(map(compile_smarts, smarts))
