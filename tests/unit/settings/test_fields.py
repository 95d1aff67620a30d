"""What the options have in common: defaults, secrets, and what a later session is to have."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.unit.settings.refusing import refused
from worker.settings import Settings, load_settings, option_name, options
from worker.timetable import parse_timetable

SECRET = "s3cr3t-of-mine"


def test_defaults_need_nothing() -> None:
    settings = load_settings({})

    assert settings.rate == parse_timetable("500/10s")
    assert settings.portal is None
    assert settings.runs_dir == Path("runs")


def test_every_option_has_a_description_that_is_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert re.fullmatch(r"[A-Z].*[.)]", field.description), name


def test_every_option_has_one_name() -> None:
    names = [option_name(name) for name in options()]

    assert len(set(names)) == len(names) == len(Settings.model_fields)
    assert option_name("as_json") == "json"
    assert option_name("run_id") == "run_id"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load_settings({}), "concurrency", 3)  # noqa: B010 - mypy knows as much


def test_what_is_saved_is_what_a_run_goes_on_with() -> None:
    saved = load_settings({"rate": "7/min", "run_id": "monday", "dry_run": True}).to_save()

    assert set(saved) == {name for name, option in options().items() if option.saved}
    assert saved["rate"] == "7/m"
    assert not {"run_id", "runs_dir", "dry_run", "json", "as_json", "quiet", "log_file"} & set(saved)


_saved_options = st.fixed_dictionaries(
    {},
    optional={
        "portal": st.sampled_from(["https://portal.example", "http://localhost:8080/office"]),
        "rate": st.tuples(
            st.integers(1, 10**6), st.sampled_from(["s", "10s", "2.5s", "90s", "min", "250ms"])
        ).map(lambda both: f"{both[0]}/{both[1]}"),
        "concurrency": st.integers(1, 256),
        "wire": st.sampled_from(["json", "xml"]),
        "max_attempts": st.integers(1, 100),
        "timeout": st.sampled_from(["1s", "90s", "30m", "1h", "0.5s", "61.5s", "3599s"]),
        "grace": st.sampled_from(["0s", "1s", "90s", "1h"]),
        "allow_http": st.booleans(),
        "columns": st.sampled_from(["opportunity=a,contact=b", "contact==,opportunity=a b"]),
        "delimiter": st.sampled_from([",", ";", "|", "\t"]),
        "limit": st.integers(1, 10**9),
    },
)  # fmt: skip


@given(flags=_saved_options)
@hypothesis_settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_what_was_saved_loads_as_it_was(flags: dict[str, Any]) -> None:
    settings = load_settings(flags)
    saved = settings.to_save()

    again = load_settings({}, json.loads(json.dumps(saved)))
    assert again.model_dump() == settings.model_dump()
    assert again.to_save() == saved


@pytest.mark.parametrize("place", ["variable", "file"])
def test_secrets_are_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], place: str
) -> None:
    flags: dict[str, Any] = {}
    if place == "variable":
        monkeypatch.setenv("BULKLINK_TOKEN", SECRET)
        monkeypatch.setenv("BULKLINK_PASSWORD", SECRET)
    else:
        flags = {"config": toml(f"token = '{SECRET}'\npassword = '{SECRET}'")}
    settings = load_settings(flags)

    assert settings.token == settings.password == SecretStr(SECRET)
    shown = (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json())
    assert not [text for text in shown if SECRET in text]
    assert SECRET not in repr(settings.to_save())
    assert SECRET not in refused({**flags, "concurrency": "0"})


@pytest.mark.parametrize(
    "line", [f"token = ['{SECRET}']", f"password = {{a = '{SECRET}'}}", f"token = '{SECRET}"]
)
def test_a_secret_of_the_wrong_form_is_not_shown_either(toml: Callable[[str], str], line: str) -> None:
    assert SECRET not in refused({"config": toml(line)})


def test_a_password_in_an_address_is_never_shown() -> None:
    assert SECRET not in refused({"portal": f"me:{SECRET}@portal.example"})


def test_no_secret_is_saved_or_a_flag_to_be_seen() -> None:
    hidden = {name for name, option in options().items() if option.secret}

    assert hidden == {"token", "token_file", "username", "password", "password_file", "queue_url"}
    assert not hidden & set(load_settings({}).to_save())
    assert not [option for option in options().values() if option.secret and (option.saved or option.metavar)]
