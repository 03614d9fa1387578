"""The key ``states`` of a level of theory: which excited states are computed, and how."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from gapsmith.core.strictness import Strict

NUMBER: Final = 5
MOST: Final = 100


class States(Strict):
    """Excited states of each multiplicity that a level asks for."""

    method: Literal["tddft", "tda"] = Field("tddft", description="tda: the Tamm-Dancoff approximation")
    number: int | None = Field(
        None, gt=0, le=MOST, description=f"the lowest so many; {NUMBER} unless up_to_ev is given"
    )
    up_to_ev: float | None = Field(
        None, gt=0, le=50, description=f"all states below it, at most {MOST}, instead of a number"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.number is not None and self.up_to_ev is not None:
            raise ValueError("give number or up_to_ev, not both")
        return self

    @property
    def most(self) -> int:
        """How many are kept at most."""
        return self.number or (NUMBER if self.up_to_ev is None else MOST)
