"""Why something ended: a code to count by, and a text for people beside it.

Calculations that failed are counted by ``core.errors.FailureClass``, which is the code of such candidates, too.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class ReasonCode(StrEnum):
    """Why a campaign ended, or why a candidate or its certificate got no further."""

    # a candidate is rejected: by the campaign's constraints
    ELEMENTS = "elements"
    HEAVY_ATOMS = "heavy_atoms"
    SA_SCORE = "sa_score"
    FORBIDDEN_SMARTS = "forbidden_smarts"
    REQUIRED_SMARTS = "required_smarts"
    ALERT = "alert"  # an unstable group
    HAZARD = "hazard"  # of a hazardous class: counted and recorded, never stored
    KNOWN = "known"  # in the training data, and the campaign wants new molecules
    DUPLICATE = "duplicate"  # the campaign has it already
    # a candidate is rejected: by its relaxation with GFN2-xTB
    RELAXATION_FAILED = "relaxation_failed"
    BONDS_CHANGED = "bonds_changed"
    QUARANTINED = "quarantined"  # it ended the process repeatedly
    # a candidate is withdrawn, or its certificate is given up
    CANCELLED = "cancelled"  # by a person
    CAMPAIGN_ENDED = "campaign_ended"
    CERTIFICATE_CANCELLED = "certificate_cancelled"
    CERTIFICATE_WITHDRAWN = "certificate_withdrawn"  # the campaign ended
    # a certificate does not hold
    CERTIFICATE_FAILED = "certificate_failed"
    CERTIFICATE_REARRANGED = "certificate_rearranged"  # its relaxation led to another molecule
    # a campaign ended
    HITS_FOUND = "hits_found"
    WALL_TIME = "wall_time"
    DFT_BUDGET = "dft_budget"
    NOTHING_MORE_FOUND = "nothing_more_found"
    STOPPED_BY_USER = "stopped_by_user"


class Reason(NamedTuple):
    """A code and a sentence."""

    code: ReasonCode
    text: str


STOPPED_BY_USER: Final = Reason(ReasonCode.STOPPED_BY_USER, "stopped by its user")
