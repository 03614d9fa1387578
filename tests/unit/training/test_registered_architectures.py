"""Architectures are those that are registered: a name of any other function runs nothing."""

from importlib.metadata import EntryPoint

import pytest

from gapsmith.core.errors import InputError
from gapsmith.training import protocol


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "builtins:exec", "x:", ":x", "gapsmith_other:Model"])
def test_what_is_not_registered_is_refused(name: str, installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setattr(protocol, "entry_points", lambda group: ())
    monkeypatch.setattr(EntryPoint, "load", lambda self: pytest.fail(f"{self.value} was loaded"))
    with pytest.raises(InputError, match="no architecture is called"):
        protocol.trainable(name)
