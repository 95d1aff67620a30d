"""What a value may be, and what is said of one that it may not be."""

import re
from collections.abc import Callable

import pytest

from tests.unit.settings.refusing import refused
from worker.errors import UsageError
from worker.settings import PREFIX, Settings, load_settings, option_name, options, settings_of
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


def test_a_column_is_no_truth_and_no_list(toml: Callable[[str], str]) -> None:
    for name in ("true", "1.5", "['Deal']"):
        said = refused({"config": toml(f"columns = {{opportunity = {name}}}")})
        assert said.endswith("is not like opportunity=NAME,contact=NAME")


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


_WHOLE = [
    option_name(name)
    for name, option in options().items()
    if option.metavar in {"N", "auto|N"} and option_name(name) != "sheet"
]


@pytest.mark.parametrize("name", _WHOLE)
@pytest.mark.parametrize("value", ["true", "false", "2.0", "2.5", "2e0"])
def test_what_is_no_whole_number_is_not_taken_for_one(
    toml: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    config = toml(f"{name} = {value}")
    shown = "2.0" if value == "2e0" else value
    said = refused({"config": config}).removeprefix(f"{config}: {name}: {shown} is ")
    assert re.fullmatch(r"(not|neither auto nor) a whole number from \d+ (on|to \d+)", said)
    monkeypatch.setenv(PREFIX + name.upper(), value)
    assert refused({}).startswith(f"{PREFIX}{name.upper()}: {value!r} is n")
    monkeypatch.delenv(PREFIX + name.upper())
    assert refused({name: value}).startswith(f"--{name.replace('_', '-')}: {value!r} is n")


@pytest.mark.parametrize("name", _WHOLE)
@pytest.mark.parametrize("value", [True, 2.0])
def test_nor_is_it_of_a_program(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^{name}: (true|2.0) is n"):
        settings_of({name: value})


def test_all_options_of_a_number_are_tried_here() -> None:
    assert {"limit", "min_rows", "concurrency", "batch_size", "max_attempts", "dashboard_port"} <= set(_WHOLE)
    numbers = {name for name, field in Settings.model_fields.items() if "int" in str(field.annotation)}
    assert {option_name(name) for name in numbers} == set(_WHOLE)


@pytest.mark.parametrize("name", ["limit", "min_rows", "allow_removals"])
def test_a_number_beyond_all_rows_is_refused(toml: Callable[[str], str], name: str) -> None:
    """It is saved and logged as a number of 64 bits."""
    for number in (2**63, 10**400):
        config = toml(f"{name} = {number}")
        assert refused({"config": config}) == f"{config}: {name}: there is nothing of which there are so many"
        assert refused({name: str(number)}).endswith("so many")
    assert getattr(load_settings({name: 2**63 - 1}), name) == 2**63 - 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("portal", "'' is not an address like https://portal.example.com"),
        ("runs_dir", "'' is no path"),
        ("log_file", "'' is no path"),
        ("ca_file", "'' is no path"),
        ("token_file", "'' is no path"),
        ("run_id", "'' is no run id: letters, digits, '-', '_' and '.' only, no '-' or '.' first"),
        ("timezone", "'' is no time zone that is known here, like Europe/Berlin"),
    ],
)
def test_nothing_is_not_taken_for_a_value(toml: Callable[[str], str], name: str, why: str) -> None:
    """As of a shell whose variable is not set: it would be another folder, or portal, than is meant."""
    config = toml(f'{name} = ""')
    assert refused({"config": config}) == f"{config}: {name}: {why}"
    assert refused({name: ""}).endswith(why)


@pytest.mark.parametrize("name", ["timeout", "grace", "max_duration", "retry_delay"])
def test_a_time_beyond_all_numbers_is_refused(toml: Callable[[str], str], name: str) -> None:
    config = toml(f"{name} = {'9' * 400}")
    assert refused({"config": config}).startswith(f"{config}: {name}: '999")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_a_file_that_the_reader_of_toml_chokes_on_is_refused_in_one_line(
    toml: Callable[[str], str], value: str
) -> None:
    config = toml(f"limit = {value}")
    said = refused({"config": config})
    assert said == f"{config}: not TOML: a value in it is too long or too deep"
