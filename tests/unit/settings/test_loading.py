"""Where an option's value comes from, and which names are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.settings.refusing import refused
from worker.errors import UsageError
from worker.settings import PREFIX, Settings, load_settings, option_name, settings_of
from worker.timetable import parse_timetable

SECRET = "s3cr3t-of-mine"


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
        ("concurrency", "0", "'0' is neither auto nor a whole number from 1 to 256"),
        ("concurrency", "eight", "'eight' is neither auto nor a whole number from 1 to 256"),
        ("concurrency", "3.5", "'3.5' is neither auto nor a whole number from 1 to 256"),
        ("concurrency", "257", "'257' is neither auto nor a whole number from 1 to 256"),
        ("max_attempts", "0", "'0' is not a whole number from 1 to 100"),
        ("max_attempts", "101", "'101' is not a whole number from 1 to 100"),
        ("grace", "2h", "'2h' is not a time from 0s to 1h"),
        ("max_duration", "0", "'0' is not a time above 0s"),
        ("lease", "0", "'0' is not a time from 1s to 1d"),
        ("wait_for_broker", "-1s", "'-1s' is not a duration like 30s, 5m or 2h"),
        ("max_errors", "many", "'many' is not a number like 100 or a share like 5%"),
        ("allow_http", "maybe", "'maybe' is neither true nor false"),
        ("limit", "0", "'0' is not a whole number from 1 on"),
        ("limit", "ten", "'ten' is not a whole number from 1 on"),
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


def test_a_file_that_is_missing_or_no_toml_is_refused_by_its_path(
    toml: Callable[[str], str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.toml")
    assert refused({"config": missing}) == f"{missing}: No such file or directory"
    assert refused({"config": str(tmp_path)}) == f"{tmp_path}: Is a directory"
    config = toml("rate = ")
    assert refused({"config": config}).startswith(f"{config}: not TOML: ")


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
