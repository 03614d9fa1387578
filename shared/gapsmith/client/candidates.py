"""Questions about candidates."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from gapsmith.client.search import Search
from gapsmith.client.transport import Transport
from gapsmith.core.errors import InputError

Ends = tuple[float | None, float | None]  # least and most, both included; None: open


class Candidates:
    """The candidates of a dashboard's database."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def search(
        self,
        *,
        in_qm9: bool | None = None,
        campaign: str | None = None,
        state: str | Sequence[str] | None = None,
        smarts: str | None = None,
        similar_to: str | None = None,
        min_similarity: float | None = None,
        sort: str | None = None,
        fields: Sequence[str] | None = None,
        limit: int | None = None,
        **ranges: Ends | None,
    ) -> Search:
        """Candidates that satisfy all that is told; nothing is asked before the answer is read.

        Args:
            in_qm9: whether the molecule is in the models' training data.
            campaign: name of a campaign.
            state: one or more; ``labelled`` has certified ones, too; ``hit`` is labelled inside the campaign's window;
                ``all`` are all. Without it all but the rejected.
            smarts: substructure.
            similar_to: SMILES of a molecule; the most similar come first unless ``sort`` says otherwise.
            min_similarity: least Tanimoto similarity to it; 0.4 unless told.
            sort: ``gap``, ``predicted_gap``, ``created``, ... as docs/api.md lists them; ``-gap``: largest first.
            fields: columns; all unless told.
            limit: most candidates; all unless told.
            ranges: two ends by the name of a column, as docs/api.md lists them: ``gap_ev=(3.9, 4.1)``. The dashboard says
                which columns have none.

        Raises:
            InputError: a range has not two ends.
        """
        parameters: dict[str, Any] = {
            "in_qm9": in_qm9,
            "campaign": campaign,
            "state": state if state is None or isinstance(state, str) else ",".join(state),
            "smarts": smarts,
            "similar_to": similar_to,
            "min_similarity": min_similarity,
            "sort": sort,
            "fields": None if fields is None else ",".join(fields),
        }
        for name, ends in ranges.items():
            if ends is not None:
                parameters[f"{name}_min"], parameters[f"{name}_max"] = _two(name, ends)
        told = {name: value for name, value in parameters.items() if value is not None}
        return Search(self._transport, told, limit)

    def get(self, candidate_id: object) -> dict[str, Any]:
        """Everything of one candidate; raises NotFoundError."""
        found: dict[str, Any] = self._transport.get(f"/candidates/{quote(str(candidate_id), safe='')}")
        return found


def _two(name: str, ends: Sequence[float | None]) -> tuple[float | None, float | None]:
    if isinstance(ends, str) or len(ends) != 2:
        raise InputError(f"{name}: {ends!r} is no range; write two ends, for example (3.9, 4.1) or (None, 4.1)")
    return ends[0], ends[1]
