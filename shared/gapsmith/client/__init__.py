"""Python client of the REST API.

from gapsmith.client import Client

client = Client("http://127.0.0.1:8700")
hits = client.candidates.search(gap_ev=(3.9, 4.1), smarts="c1ccncc1", state="certified", fields=["smiles", "gap_ev"])
table = hits.to_pandas()
"""

from gapsmith.client.campaigns import Campaign
from gapsmith.client.client import Client
from gapsmith.client.errors import ApiError, ConflictError, InvalidRequestError, NotFoundError, TokenError
from gapsmith.client.search import Search

__all__ = [
    "ApiError",
    "Campaign",
    "Client",
    "ConflictError",
    "InvalidRequestError",
    "NotFoundError",
    "Search",
    "TokenError",
]
