"""What headers say about our pace, one spelling after the other."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.portal.throttle_headers import LONGEST, NO_ADVICE, Advice, read_advice

NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("0.25", 0.25),
        ("86400", 86_400.0),
        ("1000000", 1e6),
        ("-1", None),
        ("1e3", None),
        (".5", None),
        ("1,5", None),
        ("soon", None),
        ("", None),
        (" ", None),
        ("\u0661", None),
        ("inf", None),
        ("nan", None),
        ("9" * 15, None),
        ("9" * 400, None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thursday, 01-Jan-26 00:00:30 GMT", 30.0),
        ("Thu Jan  1 00:00:30 2026", 30.0),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Thu, 32 Jan 2026 00:00:30 GMT", None),
        ("Thu, 01 Jan 2026 00:00:30 +99999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_time_and_else_it_only_says_that_we_are_too_fast(
    status: int, value: str, seconds: float | None
) -> None:
    assert read_advice(status, {"Retry-After": value}, NOW) == Advice(seconds, is_paced=True)


@pytest.mark.parametrize("status", [200, 201, 301, 400, 404])
def test_retry_after_of_an_answer_that_is_no_refusal_says_nothing(status: int) -> None:
    assert read_advice(status, {"Retry-After": "30"}, NOW) == NO_ADVICE


@pytest.mark.parametrize("name", ["Retry-After", "X-RateLimit-Reset", "RateLimit-Reset"])
@given(skew=st.integers(-86400, 86400), wait=st.integers(0, 3600))
def test_the_clock_of_the_portal_may_be_wrong(name: str, skew: int, wait: int) -> None:
    until = date(skew + wait) if name == "Retry-After" else str(int(NOW) + skew + wait)
    assert read_advice(429, {name: until, "Date": date(skew)}, NOW).wait == wait


def test_a_date_that_is_none_leaves_our_own_clock() -> None:
    headers = {"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT", "Date": "today"}
    assert read_advice(503, headers, NOW).wait == 30.0


SPENT = [
    ({"RateLimit": '"default";r=0;t=30'}, 30.0),
    ({"RateLimit": '"default"; R=0; t=30'}, 30.0),
    ({"RateLimit": "default;r=0;t=30"}, 30.0),
    ({"RateLimit": '"burst";r=3;t=1, "daily";r=0;t=40'}, 40.0),
    ({"RateLimit": '"a";r=0;t=5,"b";r=0;t=9'}, 9.0),
    ({"RateLimit": '"a,b;r=7";r=0;t=5'}, 5.0),
    ({"RateLimit": '"default";r=0', "RateLimit-Policy": '"default";q=100;w=60'}, 60.0),
    ({"RateLimit": '"default";r=0;t=3600', "RateLimit-Policy": '"default";q=100;w=60'}, 60.0),
    ({"RateLimit": '"a";r=0;t=50', "RateLimit-Policy": '"b";q=100;w=10'}, 50.0),
    ({"RateLimit": '"a";r=0;t=x', "RateLimit-Policy": '"a";q=1;w=7, oh;;=, "b"'}, 7.0),
    ({"RateLimit": "limit=100, remaining=0, reset=12"}, 12.0),
    ({"RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "50"}, 50.0),
    ({"RateLimit-Limit": "100, 100;w=20", "RateLimit-Remaining": "0", "RateLimit-Reset": "50"}, 20.0),
    ({"RateLimit-Remaining": "0;w=60", "RateLimit-Reset": "50;w=60"}, 50.0),
    ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "50"}, 50.0),
    ({"X-RateLimit-Remaining": " 0 ", "X-RateLimit-Reset": " 0.5 "}, 0.5),
    ({"X-RateLimit-Remaining": "0.0", "X-RateLimit-Reset": f"{NOW + 90:.0f}"}, 90.0),
    ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOW + 90.25:.2f}"}, 90.25),
    ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{(NOW + 90.5) * 1000:.0f}"}, 90.5),
    ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOW - 90:.0f}"}, 0.0),
    ({"X-RateLimit-Limit": "100/30m", "X-RateLimit-Remaining": "0"}, 1800.0),
    ({"X-RateLimit-Limit": "10/s, 100/min", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "300"}, 60.0),
    ({"X-RateLimit-Limit": "lots", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "300"}, 300.0),
    # The first that can be read decides.
    ({"RateLimit": "???", "RateLimit-Remaining": "0", "RateLimit-Reset": "5"}, 5.0),
    ({"RateLimit-Remaining": "many", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "6"}, 6.0),
    ({"RateLimit": '"x";r=0;t=4', "RateLimit-Remaining": "0", "RateLimit-Reset": "5"}, 4.0),
    ({"RateLimit": '"x";r=0;t=4' + " " * 1000, "RateLimit-Remaining": "0", "RateLimit-Reset": "5"}, 5.0),
]

NOT_SPENT = [
    {},
    {"RateLimit": '"default";r=1;t=30'},
    {"RateLimit": '"default";r=0'},
    {"RateLimit": '"default";r=0;t=-3'},
    {"RateLimit": '"default";r=0;t=99999999999'},
    {"RateLimit": '"default";t=30'},
    {"RateLimit": '"default'},
    {"RateLimit": "limit=100, reset=12"},
    {"RateLimit": '"x";r=3;t=4', "RateLimit-Remaining": "0", "RateLimit-Reset": "5"},
    {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "50"},
    {"X-RateLimit-Remaining": "0"},
    {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "tomorrow"},
    {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 15},
    {"X-RateLimit-Limit": "100/30m"},
]


@pytest.mark.parametrize(("headers", "wait"), SPENT)
@pytest.mark.parametrize("status", [201, 404, 429, 503])
def test_a_quota_that_is_used_up_names_the_time_until_the_next_one(
    headers: dict[str, str], wait: float, status: int
) -> None:
    advice = read_advice(status, headers, NOW)
    assert advice.is_paced
    assert advice.wait == pytest.approx(wait)


@pytest.mark.parametrize("headers", NOT_SPENT)
@pytest.mark.parametrize("status", [201, 404, 429, 503])
def test_a_quota_that_is_not_used_up_or_cannot_be_read_says_nothing(
    headers: dict[str, str], status: int
) -> None:
    assert read_advice(status, headers, NOW) == NO_ADVICE


@pytest.mark.parametrize("prefix", ["", "X-"])
def test_a_reset_without_a_rest_says_how_long_to_wait_after_a_refusal_only(prefix: str) -> None:
    headers = {f"{prefix}RateLimit-Reset": "30"}
    assert read_advice(429, headers, NOW) == Advice(30.0, is_paced=True)
    assert read_advice(201, headers, NOW) == NO_ADVICE


def test_retry_after_goes_before_a_quota_and_a_quota_before_a_retry_after_that_cannot_be_read() -> None:
    quota = {"RateLimit": '"default";r=0;t=30'}
    assert read_advice(429, {"Retry-After": "2", **quota}, NOW).wait == 2.0
    assert read_advice(429, {"Retry-After": "soon", **quota}, NOW).wait == 30.0


NAMES = [
    "Retry-After",
    "Date",
    *(f"{x}RateLimit{of}" for x in ("", "X-") for of in ("", "-Policy", "-Limit", "-Remaining", "-Reset")),
]
PIECES = st.lists(
    st.sampled_from(
        [
            *'0123456789.;,="/-+: \t\0\udce9\u0661',
            "r=0",
            "t=",
            "w=",
            "remaining=0",
            "9" * 15,
            "x",
            "min",
            " GMT",
        ]
    ),
    max_size=12,
).map("".join)


@given(
    status=st.sampled_from([200, 201, 404, 429, 500, 503]),
    headers=st.dictionaries(st.sampled_from(NAMES), PIECES),
    now=st.floats(0, 1e11),
)
def test_whatever_comes_nothing_is_raised_and_no_wait_is_negative_or_without_bound(
    status: int, headers: dict[str, str], now: float
) -> None:
    wait = read_advice(status, headers, now).wait
    assert wait is None or 0.0 <= wait <= LONGEST
