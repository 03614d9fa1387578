"""What to tell somebody who wrote a name that nothing has."""

from collections.abc import Iterable
from typing import Final

MOST: Final = 20  # names that are listed, the last ones


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    import difflib  # seldom needed, and slow to import

    names = [str(one) for one in known]
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is: {', '.join(names[-MOST:]) or 'none yet'}"
