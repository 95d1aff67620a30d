"""What a value may be, and what is said of one that it may not be."""

import re
from collections.abc import Callable

import pytest

from tests.unit.settings.refusing import refused
from worker.errors import UsageError
from worker.settings import Settings, load_settings, option_name
from worker.timetable import parse_timetable


def test_rates_by_the_time_of_day_are_saved_as_they_are_read(toml: Callable[[str], str]) -> None:
    config = toml(
        'rate = "mon-fri 8:00-19:00=5/s, 50/s"\nlink_rate = "100/min"\ntimezone = "Europe/Berlin"\n'
    )
    settings = load_settings({"config": config})
    saved = settings.to_save()
    assert (saved["rate"], saved["link_rate"], saved["timezone"]) == (
        "mon-fri 08:00-19:00=5/s,50/s",
        "100/m",
        "Europe/Berlin",
    )
    assert load_settings({}, saved).rate == settings.rate == parse_timetable(saved["rate"])
    assert load_settings({}, saved).link_rate == settings.link_rate == parse_timetable("100/min")
    assert load_settings({}).link_rate is None


@pytest.mark.parametrize("name", ["Berlin", "../etc/passwd", "/etc/localtime", "Europe", "a\0b"])
def test_a_time_zone_that_is_not_known_is_refused_by_name(name: str) -> None:
    assert (
        refused({"timezone": name})
        == f"--timezone: {name!r} is no time zone that is known here, like Europe/Berlin"
    )


@pytest.mark.parametrize("text", ["monday", "2026-01-01_a.b", "7"])
def test_a_run_id_is_a_plain_name(text: str) -> None:
    assert load_settings({"run_id": text}).run_id == text


@pytest.mark.parametrize("text", ["1234.5678s", "0.00001s"])
def test_any_duration_loads_as_it_was_saved(text: str) -> None:
    settings = load_settings({"timeout": text})

    assert load_settings({}, settings.to_save()).timeout == settings.timeout


@pytest.mark.parametrize(("value", "said"), [("true", "True"), ("inf", "inf"), ("nan", "nan")])
def test_what_is_no_time_is_refused_whatever_its_type(
    toml: Callable[[str], str], value: str, said: str
) -> None:
    config = toml(f"give_up_after = {value}")

    assert refused({"config": config}) == (
        f"{config}: give_up_after: {said!r} is not a duration like 30s, 5m or 2h"
    )


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("opportunity=Deal, no.,contact=Contact", {"opportunity": "Deal, no.", "contact": "Contact"}),
        ("contact=Name, first, last", {"contact": "Name, first, last"}),
        ("contact=a=b,opportunity=c,d=e", {"contact": "a=b", "opportunity": "c,d=e"}),
        ("opportunity=#2, contact=5", {"opportunity": "#2", "contact": "5"}),
    ],
)
def test_names_of_columns_may_have_commas_in_them(text: str, columns: dict[str, str]) -> None:
    assert load_settings({"columns": text}).columns == columns


def test_columns_may_be_a_table_of_names_and_numbers(toml: Callable[[str], str]) -> None:
    config = toml("columns = {opportunity = 'Deal, no.', contact = 5}")
    assert load_settings({"config": config}).columns == {"opportunity": "Deal, no.", "contact": "5"}


def test_columns_that_are_no_ids_are_refused() -> None:
    refused({"columns": "oportunity=Deal"})


@pytest.mark.parametrize(
    "line", ["columns = {foo = 'x'}", "columns = {}", "rate = {limit = 0, period = 0.0}"]
)
def test_a_table_in_the_file_is_checked_like_a_text(toml: Callable[[str], str], line: str) -> None:
    refused({"config": toml(line)})


@pytest.mark.parametrize("name", [option_name(name) for name in Settings.model_fields])
@pytest.mark.parametrize("value", ["[1]", "{x = 1}", "nan", "-1", "3.5", "'\\u0000'", "2026-01-01", "'?'"])
def test_no_words_of_a_library_reach_a_user(toml: Callable[[str], str], name: str, value: str) -> None:
    """Whatever stands in the file, the line about it is ours."""
    said = f"{name}: "
    try:
        load_settings({"config": toml(f"{name} = {value}")})
    except UsageError as error:
        said = str(error)
    assert f"{name}: " in said
    assert not re.search(r"[Ii]nput|valid|<class|pydantic|expected", said.replace(name, ""))


def test_a_number_where_a_text_belongs_is_told_to_be_quoted(toml: Callable[[str], str]) -> None:
    config = toml("portal = 5")
    assert refused({"config": config}) == f"{config}: portal: 5 is not a text in quotes"
    config = toml("token = 5")
    assert refused({"config": config}) == f"{config}: token: the value is not a text in quotes"


def test_a_bare_number_as_rate_is_refused_in_the_words_of_a_rate(toml: Callable[[str], str]) -> None:
    assert "50/s, 500/10s or 1500/min" in refused({"config": toml("rate = 50")})
