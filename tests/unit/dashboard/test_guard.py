"""Who may look at the live page, and who may steer."""

import pytest

from worker.dashboard.guard import is_ours, is_same_origin, is_token


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1:8700", "127.0.0.1"),
        ("localhost:8700", "127.0.0.1"),
        ("LOCALHOST", "127.0.0.1"),
        ("[::1]:8700", "127.0.0.1"),
        ("10.1.2.3:8700", "0.0.0.0"),  # noqa: S104 - a header
        ("Worker7.example:8700", "worker7.Example"),
    ],
)
def test_addresses_and_names_that_we_were_told_are_ours(host: str, told: str) -> None:
    assert is_ours(host, told)


@pytest.mark.parametrize(
    "host", ["evil.example:8700", "127.0.0.1.evil.example", "", ":8700", "[::1", "localhost.evil"]
)
def test_a_name_of_somebody_else_is_not_ours_wherever_it_points(host: str) -> None:
    assert not is_ours(host, "127.0.0.1")


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        (None, True),
        ("http://127.0.0.1:8700", True),
        ("https://127.0.0.1:8700", True),  # behind something that speaks TLS
        ("http://127.0.0.1:9999", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_only_the_page_itself_may_steer(origin: str | None, *, same: bool) -> None:
    assert is_same_origin(origin, "127.0.0.1:8700") is same


@pytest.mark.parametrize(
    ("given", "right"), [("abc", True), ("abd", False), ("", False), (None, False), ("ä", False)]
)
def test_only_the_token_is_the_token(given: str | None, *, right: bool) -> None:
    assert is_token(given, "abc") is right
