"""Where an option's value comes from, and which values and names are refused."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.errors import Exit, UsageError
from worker.settings import PREFIX, Settings, load_settings, option_name, options, settings_of
from worker.timetable import parse_timetable

SECRET = "s3cr3t-of-mine"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "bulklink.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def refused(flags: dict[str, Any], saved: dict[str, Any] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(flags, saved)
    assert caught.value.exit_code is Exit.USAGE
    return str(caught.value)


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


def test_defaults_need_nothing() -> None:
    settings = load_settings({})

    assert settings.rate == parse_timetable("500/10s")
    assert settings.portal is None
    assert settings.runs_dir == Path("runs")


# option, field, and for each place a text and what it means
LADDERS: list[tuple[str, Any, list[tuple[Any, Any]]]] = [
    ("rate", parse_timetable("500/10s"), [(f"{n}/s", parse_timetable(f"{n}/s")) for n in range(1, 5)]),
    ("concurrency", None, [("1", 1), ("2", 2), (3, 3), (4, 4)]),
    ("timeout", 30.0, [("1m", 60.0), ("2m", 120.0), ("3m", 180.0), ("4m", 240.0)]),
    ("wire", "json", [("json", "json"), ("xml", "xml"), ("json", "json"), ("xml", "xml")]),
    ("delimiter", None, [(",", ","), (";", ";"), ("|", "|"), ("\t", "\t")]),
    ("sheet", None, [("1", "1"), ("Pairs", "Pairs"), (3, "3"), ("no. 4", "no. 4")]),
    ("portal", None, [(f"https://{host}.example", f"https://{host}.example") for host in "abcd"]),
    (
        "columns",
        None,
        [(f"opportunity={name},contact=c", {"opportunity": name, "contact": "c"}) for name in "abcd"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "default", "places"), LADDERS, ids=[ladder[0] for ladder in LADDERS])
def test_a_flag_wins_over_the_environment_over_the_file_over_what_was_saved(
    monkeypatch: pytest.MonkeyPatch,
    toml: Callable[[str], str],
    name: str,
    default: Any,
    places: list[tuple[Any, Any]],
) -> None:
    flag, variable, file, saved = places
    config = toml(f"{name} = {json.dumps(file[0])}")
    monkeypatch.setenv(PREFIX + name.upper(), variable[0])

    assert getattr(load_settings({name: flag[0], "config": config}, {name: saved[0]}), name) == flag[1]
    assert getattr(load_settings({name: None, "config": config}, {name: saved[0]}), name) == variable[1]
    monkeypatch.delenv(PREFIX + name.upper())
    assert getattr(load_settings({"config": config}, {name: saved[0]}), name) == file[1]
    assert getattr(load_settings({}, {name: saved[0]}), name) == saved[1]
    assert getattr(load_settings({}, {}), name) == default


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str]) -> None:
    monkeypatch.setenv("BULKLINK_RATE", "")
    monkeypatch.setenv("BULKLINK_TOKEN", "")

    settings = load_settings({"config": toml("rate = '3/s'")})
    assert settings.rate == parse_timetable("3/s")
    assert settings.token is None


def test_the_file_is_named_by_flag_or_variable(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], tmp_path: Path
) -> None:
    config = toml("concurrency = 3")
    monkeypatch.setenv("BULKLINK_CONFIG", config)
    assert load_settings({}).concurrency == 3

    (tmp_path / "other.toml").write_text("concurrency = 4")
    assert load_settings({"config": str(tmp_path / "other.toml")}).concurrency == 4


def test_keys_of_the_file_may_have_hyphens(toml: Callable[[str], str]) -> None:
    settings = load_settings({"config": toml("max-attempts = 3\nallow_http = true\nrun-id = 'monday'")})

    assert (settings.max_attempts, settings.allow_http, settings.run_id) == (3, True, "monday")


@pytest.mark.parametrize("place", ["flag", "variable", "file"])
def test_json_is_the_option_of_that_name_everywhere(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], place: str
) -> None:
    flags: dict[str, Any] = {}
    if place == "flag":
        flags = {"json": True}
    elif place == "variable":
        monkeypatch.setenv("BULKLINK_JSON", "true")
    else:
        flags = {"config": toml("json = true")}

    assert load_settings(flags).as_json is True


def test_variables_without_the_prefix_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "true")
        monkeypatch.setenv(option_name(name).upper(), "true")

    assert load_settings({}).model_dump() == Settings.model_construct().model_dump()


def test_an_unknown_key_is_refused_by_name_with_a_suggestion(toml: Callable[[str], str]) -> None:
    config = toml("concurency = 3")
    assert refused({"config": config}) == (f"{config}: concurency: no such option; did you mean concurrency?")
    config = toml("as_json = true")
    assert refused({"config": config}) == f"{config}: as_json: no such option; did you mean json?"
    config = toml("zzz = 'red'")
    assert refused({"config": config}) == f"{config}: zzz: no such option"


def test_a_misspelt_variable_is_refused_by_name_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKLINK_TOKKEN", SECRET)
    assert refused({}) == "BULKLINK_TOKKEN: no such variable; did you mean BULKLINK_TOKEN?"
    monkeypatch.delenv("BULKLINK_TOKKEN")
    monkeypatch.setenv("BULKLINK_AS_JSON", "1")
    assert refused({}) == "BULKLINK_AS_JSON: no such variable; did you mean BULKLINK_JSON?"
    monkeypatch.delenv("BULKLINK_AS_JSON")
    monkeypatch.setenv("BULKLINK_OF_SOMEBODY_ELSE_ALTOGETHER", "1")
    assert refused({}) == "BULKLINK_OF_SOMEBODY_ELSE_ALTOGETHER: no such variable"


@pytest.mark.parametrize("spelled", ["bulklink_{}", "Bulklink_{}", "BULKLINK_{}"])
def test_a_variable_in_any_case_counts_and_is_named_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], spelled: str
) -> None:
    rate, portal, config = (spelled.format(name) for name in ("rate", "PORTAL", "Config"))
    monkeypatch.setenv(config, toml("concurrency = 3"))
    monkeypatch.setenv(rate, "5/s")
    assert load_settings({}).concurrency == 3
    assert load_settings({}).rate == parse_timetable("5/s")
    monkeypatch.setenv(rate, "fast")
    assert refused({}) == f"{rate}: 'fast' is not a rate like 50/s, 500/10s or 1500/min"
    monkeypatch.delenv(rate)
    monkeypatch.setenv(portal, "http://portal.example")
    assert refused({}).startswith(f"{portal}: plain http:// would send the token readable")
    monkeypatch.setenv(f"{portal}L", "1")
    assert refused({}) == f"{portal}L: no such variable; did you mean BULKLINK_PORTAL?"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("rate", "fast", "'fast' is not a rate like 50/s, 500/10s or 1500/min"),
        ("rate", "0/s", "'0/s' is not a rate like 50/s, 500/10s or 1500/min"),
        ("timeout", "soon", "'soon' is not a duration like 30s, 5m or 2h"),
        ("timeout", "0", "'0' is not a time above 0s and up to 1h"),
        ("timeout", "2h", "'2h' is not a time above 0s and up to 1h"),
        ("concurrency", "0", "'0' is neither auto nor a number from 1 to 256"),
        ("concurrency", "eight", "'eight' is neither auto nor a number from 1 to 256"),
        ("concurrency", "3.5", "'3.5' is neither auto nor a number from 1 to 256"),
        ("concurrency", "257", "'257' is neither auto nor a number from 1 to 256"),
        ("max_attempts", "0", "'0' is not a number from 1 to 100"),
        ("max_attempts", "101", "'101' is not a number from 1 to 100"),
        ("grace", "2h", "'2h' is not a time from 0s to 1h"),
        ("max_duration", "0", "'0' is not a time above 0s"),
        ("lease", "0", "'0' is not a time from 1s to 1d"),
        ("wait_for_broker", "-1s", "'-1s' is not a duration like 30s, 5m or 2h"),
        ("max_errors", "many", "'many' is not a number like 100 or a share like 5%"),
        ("allow_http", "maybe", "'maybe' is neither true nor false"),
        ("limit", "0", "'0' is not a number from 1 on"),
        ("limit", "ten", "'ten' is not a number from 1 on"),
        ("wire", "yaml", "'yaml' is not json or xml"),
        ("progress", "loud", "'loud' is not auto, bar, plain or none"),
        ("columns", "a,b", "'a,b' is not like opportunity=NAME,contact=NAME"),
        ("columns", "contact=a,contact=b", "'contact=a,contact=b' is not like opportunity=NAME,contact=NAME"),
        ("columns", "b,opportunity=a", "'b,opportunity=a' is not like opportunity=NAME,contact=NAME"),
        ("run_id", "a/b", "'a/b' is no run id: letters, digits, '-', '_' and '.' only, no '-' or '.' first"),
        ("run_id", "..", "'..' is no run id: letters, digits, '-', '_' and '.' only, no '-' or '.' first"),
        ("run_id", "-x", "'-x' is no run id: letters, digits, '-', '_' and '.' only, no '-' or '.' first"),
        ("portal", "portal.example", "'portal.example' is not an address like https://portal.example.com"),
        ("portal", "ftp://portal", "'ftp://portal' is not an address like https://portal.example.com"),
        ("portal", "https://", "'https://' is not an address like https://portal.example.com"),
        ("portal", "https://portal.example?x=1", "an address has no '?' or '#' part"),
        ("portal", "https://portal.example/#x", "an address has no '?' or '#' part"),
        ("portal", "https://me:pw@portal", "credentials do not belong in the address; see BULKLINK_TOKEN"),
        ("portal", "https://me@portal", "credentials do not belong in the address; see BULKLINK_TOKEN"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_where_it_was_set(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], name: str, text: str, why: str
) -> None:
    assert refused({name: text}) == f"--{name.replace('_', '-')}: {why}"
    monkeypatch.setenv(PREFIX + name.upper(), text)
    assert refused({}) == f"{PREFIX}{name.upper()}: {why}"
    monkeypatch.delenv(PREFIX + name.upper())
    config = toml(f"{name} = {json.dumps(text)}")
    assert refused({"config": config}) == f"{config}: {name}: {why}"
    assert refused({}, {name: text}) == f"{name}: {why}"


@pytest.mark.parametrize(
    "address",
    [
        "https://portal..example.com",
        "https://.example.com",
        "https://.",
        f"https://{'a' * 70}.example",
        f"https://{'ab.' * 90}example",
        "https://portal.example:99999",
        "https://[::1",
    ],
)
def test_a_host_that_no_resolver_would_take_is_no_address(address: str) -> None:
    why = f"{address!r} is not an address like https://portal.example.com"
    assert refused({"portal": address}) == f"--portal: {why}"


@pytest.mark.parametrize(
    ("address", "strange"),
    [
        ("https://portal.example/my office", " "),
        ("https://por tal.example", " "),
        ("https://por\ttal.example", "\t"),
        ("https://portal.example/\x1b[2J", "\x1b"),
        ("https://portal.example\\office", "\\"),
    ],
)
def test_what_cannot_be_in_an_address_is_named(address: str, strange: str) -> None:
    """urlsplit would drop some of them, and another host than the one typed would get the token."""
    assert refused({"portal": address}) == f"--portal: {address!r}: an address has no {strange!r} in it"


def test_a_path_is_to_be_given_as_it_is_sent() -> None:
    assert "with % signs" in refused({"portal": "https://portal.example/büro"})


@pytest.mark.parametrize(
    ("given_as", "taken_as"),
    [
        ("https://portal.example", "https://portal.example"),
        ("https://portal.example/", "https://portal.example"),
        ("https://portal.example/api/2.0", "https://portal.example"),
        ("https://portal.example/api/2.0/", "https://portal.example"),
        ("https://portal.example:8443/office/", "https://portal.example:8443/office"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:80", "http://[::1]:80"),
        (" https://portal.example\r\n", "https://portal.example"),
        ("https://portal.example./", "https://portal.example."),
        ("https://büro.example", "https://büro.example"),
        ("https://portal.example/b%C3%BCro", "https://portal.example/b%C3%BCro"),
    ],
)
def test_an_address_is_taken_without_the_path_of_the_api(given_as: str, taken_as: str) -> None:
    assert load_settings({"portal": given_as}).portal == taken_as


@pytest.mark.parametrize("host", ["portal.example", "127.0.0.1.example", "localhost.example", "0.0.0.0"])  # noqa: S104 - not bound to
def test_plain_http_leaves_this_machine_only_if_allowed(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], host: str
) -> None:
    why = f"plain http:// would send the token readable to {host}; use https://, or --allow-http if you must"
    assert refused({"portal": f"http://{host}"}) == f"--portal: {why}"
    config = toml(f"portal = 'http://{host}'")
    assert refused({"config": config}) == f"{config}: portal: {why}"
    assert refused({}, {"portal": f"http://{host}"}) == f"portal: {why}"
    monkeypatch.setenv("BULKLINK_PORTAL", f"http://{host}")
    assert refused({}) == f"BULKLINK_PORTAL: {why}"

    assert load_settings({"portal": f"http://{host}", "allow_http": True}).portal == f"http://{host}"


@pytest.mark.parametrize("text", ["monday", "2026-01-01_a.b", "7"])
def test_a_run_id_is_a_plain_name(text: str) -> None:
    assert load_settings({"run_id": text}).run_id == text


def test_a_file_that_is_missing_or_no_toml_is_refused_by_its_path(
    toml: Callable[[str], str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.toml")
    assert refused({"config": missing}) == f"{missing}: No such file or directory"
    assert refused({"config": str(tmp_path)}) == f"{tmp_path}: Is a directory"
    config = toml("rate = ")
    assert refused({"config": config}).startswith(f"{config}: not TOML: ")


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
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_was_saved_loads_as_it_was(flags: dict[str, Any]) -> None:
    settings = load_settings(flags)
    saved = settings.to_save()

    again = load_settings({}, json.loads(json.dumps(saved)))
    assert again.model_dump() == settings.model_dump()
    assert again.to_save() == saved


@pytest.mark.parametrize("text", ["1234.5678s", "0.00001s"])
def test_any_duration_loads_as_it_was_saved(text: str) -> None:
    settings = load_settings({"timeout": text})

    assert load_settings({}, settings.to_save()).timeout == settings.timeout


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


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Windows editors write it."""
    path = tmp_path / "bulklink.toml"
    path.write_bytes("\ufeffconcurrency = 3\r\n".encode())
    assert load_settings({"config": str(path)}).concurrency == 3


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_in_plain_words(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "bulklink.toml"
    path.write_bytes("# für die Nacht\nconcurrency = 3\n".encode(encoding))
    assert refused({"config": str(path)}) == f"{path}: not UTF-8: save it as UTF-8"


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


@pytest.mark.parametrize(("value", "said"), [("true", "True"), ("inf", "inf"), ("nan", "nan")])
def test_what_is_no_time_is_refused_whatever_its_type(
    toml: Callable[[str], str], value: str, said: str
) -> None:
    config = toml(f"give_up_after = {value}")

    assert refused({"config": config}) == (
        f"{config}: give_up_after: {said!r} is not a duration like 30s, 5m or 2h"
    )


def test_a_number_where_a_text_belongs_is_told_to_be_quoted(toml: Callable[[str], str]) -> None:
    config = toml("portal = 5")
    assert refused({"config": config}) == f"{config}: portal: 5 is not a text in quotes"
    config = toml("token = 5")
    assert refused({"config": config}) == f"{config}: token: the value is not a text in quotes"


def test_a_bare_number_as_rate_is_refused_in_the_words_of_a_rate(toml: Callable[[str], str]) -> None:
    assert "50/s, 500/10s or 1500/min" in refused({"config": toml("rate = 50")})


def test_a_program_gives_options_without_environment_or_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKLINK_PORTAL", "https://other.example.com")
    monkeypatch.setenv("BULKLINK_NONSENSE", "1")

    settings = settings_of({"portal": "https://portal.example.com", "rate": "5/s", "timeout": 3})

    assert settings.portal == "https://portal.example.com"
    assert (str(settings.rate), settings.timeout) == ("5/s", 3.0)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"timeout": "soon"}, "timeout: "),
        ({"tmeout": 3}, "tmeout: no such option; did you mean timeout?"),
        ({"portal": "http://portal.example.com"}, "portal: plain http:// would send .* allow_http=True"),
    ],
)
def test_what_is_wrong_with_an_option_of_a_program_is_said_by_its_name(
    options: dict[str, object], refusal: str
) -> None:
    with pytest.raises(UsageError, match=refusal):
        settings_of(options)
