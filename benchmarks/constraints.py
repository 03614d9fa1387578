"""What constraints cost: share of the generator's draws that a campaign can use, with them and without planting."""

import time
from collections import Counter
from typing import Any, Final

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.elements import number_of
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.screening import placeable, screen
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.model_domain import within
from gapsmith.generator.generator import Generator
from gapsmith.generator.planting import planted

DRAWS: Final = 128
GAP_EV: Final = 5.0
SEED: Final = 0
CASES: Final[dict[str, dict[str, Any]]] = {
    "alerts alone": {},
    "a furan ring": {"required_smarts": ["c1ccoc1"]},
    "a pyridine ring": {"required_smarts": ["c1ccncc1"]},
    "any six-membered ring": {"required_smarts": ["[r6]1[r6][r6][r6][r6][r6]1"]},
    "a primary amine": {"required_smarts": ["[NX3;H2]"]},
    "a nitrile and a hydroxyl group": {"required_smarts": ["C#N", "[OX2H]"]},
    "no nitrogen": {"forbidden_smarts": ["[#7]"]},
}


def measure() -> dict[str, Any]:
    """Each case with the constraints filtering alone, and with them in the sampler."""
    generator = Generator.load()
    rows = []
    for case, limits in CASES.items():
        constraints = within(Constraints.model_validate({"heavy_atoms": [4, 9], **limits}), [generator.domain])
        filtered = _draw(generator, constraints, steered=False)
        started = time.monotonic()
        parts = len(planted(constraints))
        looked_s = time.monotonic() - started
        steered = _draw(generator, constraints, steered=True)
        rows.append(
            {
                "case": case,
                **limits,
                "filtered": filtered,
                "generated": steered,
                "parts": parts,
                "looking_for_parts_s": round(looked_s, 1),
            }
        )
    return {"draws": DRAWS, "gap_ev": GAP_EV, "weights_sha256": generator.card["sha256"], "rows": rows}


def _draw(generator: Generator, constraints: Constraints, *, steered: bool) -> dict[str, Any]:
    """Usable share of the draws, different usable molecules, and why the others were refused."""
    known = constraints.elements or ()
    sampled = generator.sample(
        DRAWS,
        {"gap_ev": GAP_EV},
        SEED,
        heavy_atoms=constraints.heavy_atoms,
        elements=[number_of(symbol) for symbol in (placeable(constraints, known) if steered else known)],
        planted=planted(constraints) if steered else (),
    )
    refused, usable = Counter(sampled.refused), []
    for molecule in sampled.molecules:
        try:
            mol = to_rdkit(molecule)
            identity = identify(mol)
        except InvalidMolecule as error:
            refused[error.reason] += 1
            continue
        if (reason := screen(mol, identity, constraints)) is None:
            usable.append(identity.inchikey)
        else:
            refused[reason.text] += 1
    return {"usable": len(usable) / DRAWS, "different": len(set(usable)), "refused": dict(refused.most_common())}
