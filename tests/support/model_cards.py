"""Cards of models for tests: what every card must say, for molecules such as QM9's."""

from typing import Any, Final, TypedDict

from gapsmith.core.model_domain import KnownProperty, ModelDomain
from gapsmith.training.card import FORMAT

DOMAIN: Final = ModelDomain(
    ("H", "C", "N", "O", "F"),
    (1, 9),
    {
        "gap": KnownProperty("B3LYP/6-31G(2df,p)", "eV", 3.3, 10.2),
        **{name: KnownProperty("B3LYP/6-31G(2df,p)", "eV") for name in ("homo", "lumo", "dipole", "polarizability")},
    },
)
ARCHITECTURES: Final = {"surrogate": "equivariant_gnn", "generator": "masked_diffusion"}


class Identity(TypedDict):
    """What ``save_model`` is told of a model besides its weights."""

    role: str
    architecture: str
    domain: ModelDomain


def as_role(role: str) -> Identity:
    """Of a model with the shipped architecture of its role, or one that is called as the role."""
    return {"role": role, "architecture": ARCHITECTURES.get(role, role), "domain": DOMAIN}


def card(role: str, digest: str, **more: Any) -> dict[str, Any]:
    """A whole card."""
    return {
        "format": FORMAT,
        "role": role,
        "architecture": ARCHITECTURES.get(role, role),
        "domain": DOMAIN.as_dict(),
        "config": {},
        "sha256": digest,
        **more,
    }
