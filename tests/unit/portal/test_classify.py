"""The table of what each answer proves, row by row."""

from collections import defaultdict
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from worker.errors import PortalClosed, PortalError, PortalRefused, WrongBaseUrl
from worker.models import Result
from worker.portal.classify import (
    FAILURES,
    RULES,
    Answer,
    BodyKind,
    FailureKind,
    classify,
    classify_failure,
    read_body,
)
from worker.reasons import (
    CONTACT_MISSING,
    HINTS,
    NO_ANSWER,
    NO_ITEM,
    OPPORTUNITY_MISSING,
    RENEWED,
    RUN_ENDED,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "portal"
JSON, XML, HTML = BodyKind.JSON_ENVELOPE, BodyKind.XML_ENVELOPE, BodyKind.HTML
TEXT, EMPTY, OTHER = BodyKind.TEXT, BodyKind.EMPTY, BodyKind.OTHER

ROWS: list[tuple[Answer, str, Result | type[PortalError]]] = [
    (Answer(201, JSON, proven=True), "", Result.OK),
    (Answer(200, XML, proven=True), "", Result.OK),
    (Answer(201, JSON), "wrong_id", Result.AMBIGUOUS),
    (Answer(200, XML), "wrong_id", Result.AMBIGUOUS),
    (Answer(200, JSON, message="no batch specified"), "error_in_success", Result.AMBIGUOUS),
    (Answer(200, XML, hresult=-1), "error_in_success", Result.AMBIGUOUS),
    (Answer(200, HTML), "html_200", Result.AMBIGUOUS),
    (Answer(204, EMPTY), "empty_body", Result.AMBIGUOUS),
    (Answer(200, TEXT), "odd_body", Result.AMBIGUOUS),
    (Answer(299, OTHER), "odd_body", Result.AMBIGUOUS),
    (Answer(300, EMPTY), "redirected", WrongBaseUrl),
    (Answer(302, HTML, location="login.example"), "redirected", WrongBaseUrl),
    (Answer(399, JSON, proven=True), "redirected", WrongBaseUrl),
    (Answer(400, JSON), "bad_argument", Result.PERMANENT),
    (Answer(400, HTML), "bad_request", Result.TRANSIENT),
    (Answer(400, EMPTY), "bad_request", Result.TRANSIENT),
    (Answer(401, TEXT), "unauthorized", PortalRefused),
    (Answer(401, EMPTY), "unauthorized", PortalRefused),
    (Answer(402, EMPTY), "payment_required", PortalClosed),
    (Answer(402, JSON, message="PaymentRequired"), "payment_required", PortalClosed),
    (Answer(403, EMPTY), "address_not_allowed", PortalClosed),
    (Answer(403, HTML), "blocked_by_proxy", PortalRefused),
    (Answer(403, TEXT), "blocked_by_proxy", PortalRefused),
    (Answer(403, OTHER), "blocked_by_proxy", PortalRefused),
    (Answer(403, JSON, hresult=-2146233079, message="Sequence"), "internal_fault", Result.AMBIGUOUS),
    (Answer(403, JSON, hresult=-2146233078, message="Zugriff"), "access_denied", Result.PERMANENT),
    (Answer(403, XML, hresult=-2147467259, message="Verboten"), "crm_not_allowed", PortalRefused),
    (Answer(403, JSON, message=" Forbidden"), "crm_not_allowed", PortalRefused),
    (Answer(403, JSON, hresult=-1, message="Access denied"), "forbidden", Result.PERMANENT),
    (Answer(404, JSON, hresult=-2147467259, message="Not found"), "not_found", Result.PERMANENT),
    (Answer(404, JSON, message="The record could not be found"), "not_found", Result.PERMANENT),
    (Answer(404, JSON, message="Method not found"), "no_such_route", WrongBaseUrl),
    (Answer(404, EMPTY), "portal_gone", PortalClosed),
    (Answer(404, HTML), "no_such_route", WrongBaseUrl),
    (Answer(404, OTHER), "no_such_route", WrongBaseUrl),
    *((Answer(status, HTML), "request_not_accepted", WrongBaseUrl) for status in (405, 411, 413)),
    *((Answer(status, EMPTY), "request_not_accepted", WrongBaseUrl) for status in (414, 415, 431)),
    (Answer(407, HTML), "proxy_password", PortalRefused),
    (Answer(408, EMPTY), "request_timeout", Result.TRANSIENT),
    (Answer(425, EMPTY), "too_early", Result.TRANSIENT),
    (Answer(429, EMPTY), "throttled", Result.THROTTLED),
    (Answer(429, JSON, is_paced=True), "throttled", Result.THROTTLED),
    *((Answer(status, JSON), "refused", Result.PERMANENT) for status in (409, 410, 418, 422, 499)),
    *((Answer(status, HTML), "not_the_api", WrongBaseUrl) for status in (406, 409, 410, 412, 418, 421)),
    *((Answer(status, TEXT), "not_the_api", WrongBaseUrl) for status in (422, 423, 426, 451, 494, 499)),
    *((Answer(status, EMPTY), "not_the_api", WrongBaseUrl) for status in (409, 422)),
    (Answer(409, OTHER), "not_the_api", WrongBaseUrl),
    (Answer(500, JSON, message="Duplicate entry"), "server_error", Result.AMBIGUOUS),
    (Answer(500, JSON, message="An error", names_class=True), "perhaps_linked", Result.AMBIGUOUS),
    (Answer(500, OTHER), "server_error", Result.AMBIGUOUS),
    (Answer(500, HTML), "server_page", Result.AMBIGUOUS),
    (Answer(501, JSON), "not_supported", Result.PERMANENT),
    *((Answer(status, HTML), "not_the_api", WrongBaseUrl) for status in (501, 505)),
    (Answer(503, EMPTY, is_paced=True), "throttled", Result.THROTTLED),
    (Answer(503, HTML, is_paced=True), "throttled", Result.THROTTLED),
    (Answer(503, EMPTY), "maintenance", Result.THROTTLED),
    (Answer(503, HTML), "unavailable", Result.THROTTLED),
    (Answer(503, JSON), "unavailable", Result.THROTTLED),
    *((Answer(status, HTML), "gateway_error", Result.AMBIGUOUS) for status in (502, 504, 520, 524, 529)),
    *((Answer(status, EMPTY), "server_error", Result.AMBIGUOUS) for status in (506, 519, 530, 599)),
    *((Answer(status, EMPTY), "odd_status", Result.AMBIGUOUS) for status in (0, 102, 199, 600, 999)),
]


@pytest.mark.parametrize(("answer", "reason", "follows"), ROWS)
def test_each_answer_proves_what_its_row_says(
    answer: Answer, reason: str, follows: Result | type[PortalError]
) -> None:
    verdict = classify(answer)
    assert verdict.reason == reason
    assert (verdict.result or verdict.stop) == follows
    assert (verdict.result is None) != (verdict.stop is None)
    assert verdict.hint.startswith(HINTS[reason] if reason else "")


def test_each_rule_decides_some_answer() -> None:
    """A rule that an earlier one hides would be a claim that nobody keeps."""
    deciding = [next(rule for rule in RULES if rule.fits(row[0])) for row in ROWS if row[1] != "odd_status"]
    assert [rule for rule in RULES if rule not in deciding] == []


def test_each_reason_of_an_answer_has_a_hint_and_each_other_hint_is_of_ours() -> None:
    words = {rule.reason for rule in RULES} | {reason for _, reason in FAILURES.values()} | {"odd_status"}
    told_later = {OPPORTUNITY_MISSING, CONTACT_MISSING}  # when it is known which one a 404 is about
    assert set(HINTS) - words == {RENEWED, RUN_ENDED, NO_ANSWER, NO_ITEM, *told_later}
    assert words - set(HINTS) == {""}


def test_no_hint_of_a_read_speaks_of_a_link_that_may_be_stored() -> None:
    failures = [classify_failure(kind, sent=False) for kind in FAILURES]
    read = [classify(replace(answer, sent=False)) for answer, *_ in ROWS]
    told = {verdict.hint for verdict in (*failures, *read) if verdict.result is Result.TRANSIENT}
    assert len(told) > 3
    assert [
        hint for hint in told if "stored the link" in hint or "verify" in hint or "may be stored" in hint
    ] == []


def test_a_reason_always_means_the_same() -> None:
    meanings = defaultdict(set)
    for rule in RULES:
        meanings[rule.reason].add(rule.follows)
    assert {reason: found for reason, found in meanings.items() if len(found) > 1} == {}


def test_a_redirect_names_where_it_leads() -> None:
    assert classify(Answer(301, EMPTY, location="eu.example")).hint.endswith(" It leads to eu.example.")
    assert classify(Answer(301, EMPTY)).hint == HINTS["redirected"]
    assert classify(Answer(401, EMPTY, location="eu.example")).hint == HINTS["unauthorized"]


answers = st.builds(
    Answer,
    http_status=st.integers(0, 999),
    body=st.sampled_from(BodyKind),
    hresult=st.none() | st.sampled_from([-2147467259, -2146233079, -2146233078, 0]),
    message=st.none() | st.sampled_from(["Forbidden", "Method not found", ""]),
    is_paced=st.booleans(),
    proven=st.booleans(),
    sent=st.booleans(),
)


@given(answers)
def test_ok_means_a_proven_2xx_and_nothing_else(answer: Answer) -> None:
    is_proof = answer.proven and 200 <= answer.http_status < 300
    assert (classify(answer).result is Result.OK) == is_proof


@given(answers)
def test_without_the_apis_own_envelope_nothing_is_final_about_a_pair(answer: Answer) -> None:
    """A page of a proxy, a firewall or another server says nothing about the pair that was asked for."""
    assert answer.body in {JSON, XML} or classify(answer).result is not Result.PERMANENT


@given(answers)
def test_a_read_is_never_in_doubt(answer: Answer) -> None:
    result = classify(answer).result
    assert answer.sent or result is not Result.AMBIGUOUS


def test_a_read_that_failed_can_be_repeated() -> None:
    assert classify(Answer(502, HTML, sent=False)).result is Result.TRANSIENT
    assert classify(Answer(0, EMPTY, sent=False)).result is Result.TRANSIENT
    assert classify(Answer(404, JSON, sent=False)).result is Result.PERMANENT
    assert classify_failure("timeout", sent=False).result is Result.TRANSIENT


@pytest.mark.parametrize(
    ("kind", "result", "reason"),
    [
        ("connect", Result.TRANSIENT, "cannot_connect"),
        ("timeout", Result.AMBIGUOUS, "timeout"),
        ("disconnected", Result.AMBIGUOUS, "connection_lost"),
        ("payload", Result.AMBIGUOUS, "body_cut"),
        ("too_large", Result.AMBIGUOUS, "body_too_large"),
    ],
)
def test_only_a_request_that_never_left_is_surely_not_stored(
    kind: FailureKind, result: Result, reason: str
) -> None:
    verdict = classify_failure(kind)
    assert (verdict.result, verdict.reason, verdict.stop) == (result, reason, None)
    assert verdict.hint == HINTS[reason]


def test_each_kind_of_failure_is_in_the_table() -> None:
    assert set(get_args(FailureKind)) == set(FAILURES)


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("application/json; charset=UTF-8", b'{"status":0,"response":[]}', JSON),
        ("text/plain", b' {"status":1,"error":{}}\n', JSON),
        ("text/xml; charset=UTF-8", b"<result><status>0</status></result>", XML),
        (None, b"\n<result>\n <status>0</status>\n</result>", XML),
        ("text/html", b"<!DOCTYPE html><title>404</title>", HTML),
        (None, b"<html><body>Bad Gateway<br></body></html>", HTML),
        ("application/xhtml+xml", b"<html><body/></html>", HTML),
        ("text/html", b"Unauthorized", TEXT),
        ("Text/Plain", b"no", TEXT),
        ("application/json", b"", EMPTY),
        (None, b" \r\n", EMPTY),
        ("text/xml", b"<result><status>0</status>", OTHER),
        ("text/xml", b"oops", OTHER),
        ("application/json", b'{"status":0', OTHER),
        ("text/html", b'{"message":"blocked"}', OTHER),
        ("application/json", b'"Unauthorized"', OTHER),
        (None, b"\x1f\x8b\x08", OTHER),
        (None, b"Unauthorized", OTHER),
    ],
)
def test_the_body_tells_its_kind_more_than_its_label(
    content_type: str | None, body: bytes, kind: BodyKind
) -> None:
    found, envelope = read_body(content_type, body)
    assert found is kind
    assert (envelope is not None) == (kind in {JSON, XML})


@pytest.mark.parametrize(("name", "kind"), [("person.json", JSON), ("docs_contact.xml", XML)])
def test_a_body_is_read_once_for_both_questions(name: str, kind: BodyKind) -> None:
    found, envelope = read_body(None, (FIXTURES / name).read_bytes())
    assert found is kind
    assert envelope is not None
    assert envelope.response
