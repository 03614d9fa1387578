import importlib
import re
from pathlib import Path

import pytest

from gapsmith.core import crash
from gapsmith.core.errors import ErrorCode, GapsmithError, InputError, Internal, NotFound, UnavailableError

ROOT = Path(__file__).parents[3]
GENERAL = {"GapsmithError", "Internal", "ApiError"}  # whose code is INTERNAL, or that of the API's answer


def subclasses(kind: type[GapsmithError]) -> set[type[GapsmithError]]:
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def test_every_error_class_has_a_code_with_a_status_and_an_exit_code() -> None:
    names = set()
    for path in [*ROOT.glob("shared/gapsmith/**/*.py"), *ROOT.glob("services/*/gapsmith/**/*.py")]:
        if found := re.findall(r"^class (\w+)\(.*(?:Error|NotFound|Conflict)\)", path.read_text(), re.MULTILINE):
            parts = path.relative_to(ROOT).with_suffix("").parts
            importlib.import_module(".".join(parts[parts.index("gapsmith") :]))
            names.update(found)
    classes = {kind for kind in subclasses(GapsmithError) if kind.__module__.startswith("gapsmith.")}
    assert (
        {"Forbidden", "TrainingFailedError", "ConflictError"} <= {kind.__name__ for kind in classes} <= names | GENERAL
    )
    for kind in classes:
        assert isinstance(kind.code, ErrorCode), kind
        assert (kind.code is ErrorCode.INTERNAL) == (kind.__name__ in GENERAL), kind


def test_the_table_is_of_statuses_and_exit_codes_that_mean_an_error() -> None:
    for code in ErrorCode:
        assert re.fullmatch("[a-z-]+", code)
        assert 400 <= code.status < 600
        lowest = 1 if code is ErrorCode.EMPTY else 2
        assert lowest <= code.exit_code < 126, "0 is success, 1 is no or failed records, from 126 on the shell's own"
        assert code.summary
    alone = [code for code in ErrorCode if code.exit_code == ErrorCode.INTERNAL.exit_code]
    assert alone == [ErrorCode.INTERNAL]


def test_a_status_leads_to_the_general_code() -> None:
    assert ErrorCode.of_status(422) is ErrorCode.INPUT
    assert ErrorCode.of_status(418) is ErrorCode.INTERNAL


def test_what_is_not_found_is_a_mistake_of_input_too() -> None:
    assert issubclass(NotFound, InputError)
    assert NotFound("x").code.exit_code != InputError("x").code.exit_code


def test_advice_is_not_given_twice() -> None:
    advice = UnavailableError.code.advice
    assert UnavailableError("Postgres is away").advice == advice
    assert UnavailableError(f"Postgres is away; {advice}").advice == ""


def test_an_unexpected_error_gets_a_number_and_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path / "home"))

    def recorded(text: str) -> Internal:
        try:
            raise ZeroDivisionError(text)
        except ZeroDivisionError as error:
            return crash.record(error)

    first, second = recorded("first"), recorded("second")
    assert first.number != second.number
    assert first.log is not None
    log = first.log.read_text()
    assert log.index(first.number) < log.index("ZeroDivisionError: first") < log.index(second.number)
    assert first.number in str(first)
    assert "\n" not in str(first)


def test_an_unexpected_error_is_told_where_no_log_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAPSMITH_HOME", str(tmp_path / "file" / "home"))
    assert crash.record(ValueError("x")).log is None
