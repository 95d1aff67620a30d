"""Every fault against the main job, as one table: how the run ends, and that it tells nothing but the truth.

The portal runs in a thread of its own, the job in the test's. After each case, whatever went wrong: the
states sum to the rows, no row is told twice, a linked row is in the portal's books, a link in the books is
linked or worth another try, and no secret is in any file of the run.
"""

import asyncio
import csv
import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from worker.errors import PortalError, PortalUnreachable
from worker.operations.policy import RetryPolicy
from worker.report.build import Report
from worker.run.access import access_of
from worker.run.directory import RunDirectory
from worker.run.files import audit_run, write_files
from worker.run.rollback import roll_back
from worker.run.run import complete, start
from worker.run.verify import verify
from worker.settings import load_settings
from worker.simulator import Portal, Scenario

T = TypeVar("T")
Aside = Callable[[Coroutine[Any, Any, T]], T]
Figure = int | range

OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    " -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
)

PAIRS = 30
SOON: Mapping[str, object] = {"worker.limits.limiter.FLOOR": 0.3}
# Each pause is twice the last one, up to the longest.
AT_ONCE: Mapping[str, object] = {
    "worker.limits.limiter.FLOOR": 0.01,
    "worker.limits.limiter.LONGEST_FLOOR": 0.02,
    "worker.limits.adaptive_rate.FLOOR": 20.0,
    "worker.limits.outage.FIRST_WAIT": 0.05,
    "worker.limits.outage.LONGEST_WAIT": 0.1,
}
SHORT: Mapping[str, object] = {"timeout": 0.5, "concurrency": 16}
# One attempt, then reading, which has to be in time also on a machine with much else to do.
ONCE: Mapping[str, object] = {"timeout": 2.0, "concurrency": 16, "max_attempts": 1}
LOGS_IN: Mapping[str, object] = {
    "token": None,
    "username": "user@portal.example",
    "password": "demo-password",
}


# -- A proxy for what a server of whole HTTP answers cannot do ----------------------------------------------


Deliver = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class Between:
    """A proxy that lets reads through, and delivers the answers to link POSTs in its own way.

    Args:
        deliver: writes an answer to a POST; the connection is closed if it raises a ConnectionError.
        good: so many answers are passed on as they stand first; then no new connection is taken if
            ``deliver`` is None.
    """

    def __init__(self, target: str, deliver: Deliver | None, *, good: int = 0) -> None:
        self._port = int(target.rpartition(":")[2])
        self._deliver = deliver
        self._left = good
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")  # what bulklink sends here has no body
        if not head.startswith(b"POST"):
            writer.write(await self._ask(head))
            return True
        self._left -= 1
        if self._left >= 0:
            writer.write(await self._ask(head))
            return True
        if self._deliver is None:
            self._server.close()
            return False
        await self._deliver(reader, writer, await self._ask(head))
        return True

    async def _ask(self, head: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            (length,) = (
                int(line.partition(b":")[2])
                for line in answer.lower().splitlines()
                if line.startswith(b"content-length")
            )
            return answer + await reader.readexactly(length)
        finally:
            writer.close()


async def closes_unsaid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """A whole answer on a connection that looks alive, and is dropped when the next request comes on it."""
    writer.write(answer)
    await reader.read(1)
    raise ConnectionAbortedError


async def drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """A byte now and a byte then: never silent for long, and never done."""
    for byte in answer:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


def sends(make: Callable[[bytes], bytes]) -> Deliver:
    """What ``make`` makes of the answer."""

    async def deliver(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(make(answer))
        await writer.drain()

    return deliver


def early_hints(answer: bytes) -> bytes:
    return b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + answer


def no_http(_answer: bytes) -> bytes:
    return b"220 mail.example ESMTP\r\n\r\n"


def endless_header(answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\r\nX-Filler: " + b"x" * 100_000 + b"\r\n", 1)


def broken_chunks(_answer: bytes) -> bytes:
    return b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"sta\r\nnone\r\n\r\n'


def gzip_bomb(_answer: bytes) -> bytes:
    body = gzip.compress(bytes(500_000))
    return b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def odd_location(answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\r\nLocation: http://[half\r\n", 1)


# -- The table ----------------------------------------------------------------------------------------------


def fault(kind: str, **keys: object) -> str:
    return _table("faults", kind, keys)


def outage(kind: str, **keys: object) -> str:
    return _table("outages", kind, keys)


def status(code: int, body: str = "html", **keys: object) -> str:
    return fault("status", status=code, body=body, **keys)


def _table(name: str, kind: str, keys: Mapping[str, object]) -> str:
    # Of numbers, texts, truths and lists of them, JSON is TOML.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in {"kind": kind, **keys}.items()).join(
        [f"[[{name}]]\n", "\n"]
    )


@dataclass(frozen=True, slots=True)
class Case:
    """One run.

    Attributes:
        name: what it claims.
        scenario: of the portal, as TOML.
        code: exit code.
        counts: rows by state; the states that are not named have none.
        reason: named by a cause or the message; None if nothing may be left to explain.
        retried: a reason that must have led to a retry, None for no matter.
        held: links in the portal's books at the end.
        options: of the run.
        patches: what to set where, so that no case takes long.
        deliver: a proxy between, and how it delivers answers.
        good: POSTs that this proxy lets through first.
        is_cut: the proxy takes no connection after those.
        paused: seconds for which the portal held everyone back, least and most.
    """

    name: str
    scenario: str = ""
    code: Figure = 0
    counts: Mapping[str, Figure] = field(default_factory=lambda: {"linked": PAIRS})
    reason: str | None = None
    retried: str | None = None
    held: Figure = PAIRS
    options: Mapping[str, object] = field(default_factory=dict)
    patches: Mapping[str, object] = field(default_factory=dict)
    deliver: Deliver | None = None
    good: int = 0
    is_cut: bool = False
    paused: tuple[float, float] | None = None


def recovers(name: str, scenario: str, retried: str, **more: Any) -> Case:
    """Every pair is linked in the end, and there was something to recover from."""
    return Case(name, scenario, retried=retried, **more)


def retryable(name: str, scenario: str, reason: str, **more: Any) -> Case:
    """No pair is stored, none is rejected, and reading the members told so where that was open."""
    return Case(name, scenario, 5, {"retryable": PAIRS}, reason, held=0, **more)


def rejected(name: str, scenario: str, reason: str, **more: Any) -> Case:
    """The portal says no to each pair for good."""
    return Case(name, scenario, 3, {"rejected": PAIRS}, reason, held=0, **more)


def stopped(name: str, scenario: str, reason: str, **more: Any) -> Case:
    """It says no to us with the twentieth POST: what it took before is linked, the rest was not stored."""
    return Case(name, scenario, 6, {"linked": 19, "not_attempted": PAIRS - 19}, reason, held=19, **more)


SOME: Mapping[str, Any] = {"share": 0.3, "per_pair": 1}
FIRST: Mapping[str, Any] = {"per_pair": 1}
LATE: Mapping[str, Any] = {"after": 20}
STORED: Mapping[str, Any] = {"after_store": True}
GONE: Mapping[str, Any] = {
    "good": 19,
    "is_cut": True,
    "options": {"give_up_after": 1.0},
    "counts": {"linked": 19, "retryable": range(12), "unknown": range(12), "not_attempted": range(12)},
    "reason": "the portal has not been reachable",
    "held": 19,
}
# Reading the members of a pair's opportunity; not the question whether the portal is there, which is about 0.
READS: Mapping[str, Any] = {"on": "get", "only": [[number, 0] for number in range(1, PAIRS + 1)]}

CONNECTION = (
    Case("calm"),
    Case("calm_in_xml", options={"wire": "xml"}),
    recovers("reset_before_store", fault("reset", **SOME), "connection_lost"),
    recovers("reset_after_store", fault("reset", **SOME, **STORED), "connection_lost"),
    retryable("reset_each_time_before_store", fault("reset"), "connection_lost"),
    Case("reset_each_time_after_store_is_settled_by_reading", fault("reset", **STORED)),
    Case("reset_each_time_after_store_in_xml", fault("reset", **STORED), options={"wire": "xml"}),
    recovers("body_cut", fault("truncated", **SOME), "body_cut"),
    Case("body_cut_each_time_is_settled_by_reading", fault("truncated")),
    recovers("body_cut_in_xml", fault("truncated", **SOME), "body_cut", options={"wire": "xml"}),
    Case("slow_within_the_timeout", fault("slow", delay=0.1), options={"timeout": 1.0}),
    recovers("slow_beyond_the_timeout", fault("slow", delay=0.9, **SOME), "timeout", options=SHORT),
    Case("slow_each_time_after_store_is_settled_by_reading", fault("slow", delay=1.5), options=ONCE),
    retryable(
        "slow_each_time_before_store", fault("slow", delay=30.0, after_store=False), "timeout", options=ONCE
    ),
    recovers("hang_before_store", fault("hang", **SOME), "timeout", options=SHORT),
    recovers("hang_after_store", fault("hang", **SOME, **STORED), "timeout", options=SHORT),
    retryable("hang_each_time_before_store", fault("hang"), "timeout", options=ONCE),
    Case("hang_each_time_after_store_is_settled_by_reading", fault("hang", **STORED), options=ONCE),
    recovers(
        "keep_alive_that_is_stale",
        "",
        "connection_lost",
        deliver=closes_unsaid,
        options={"max_attempts": 50},
    ),
    Case("drip_beyond_the_timeout_is_settled_by_reading", deliver=drips, options=ONCE),
    Case("early_hints_before_the_answer", deliver=sends(early_hints)),
    Case("no_http_is_settled_by_reading", deliver=sends(no_http)),
    Case("endless_header_is_settled_by_reading", deliver=sends(endless_header)),
    Case("broken_chunks_are_settled_by_reading", deliver=sends(broken_chunks)),
    Case(
        "portal_that_is_gone_in_the_middle_is_exit_6",
        **GONE,
        code=6,
    ),
)

BODIES = (
    recovers("page_in_place_of_an_answer", fault("html_200", **FIRST), "html_200"),
    retryable("page_each_time", fault("html_200"), "html_200"),
    Case("page_each_time_after_store_is_settled_by_reading", fault("html_200", **STORED)),
    recovers("empty_200", fault("empty_200", **FIRST), "empty_body"),
    retryable("empty_200_each_time", fault("empty_200"), "empty_body"),
    recovers("empty_201", fault("empty_201", **FIRST), "empty_body"),
    Case("empty_201_each_time_after_store_is_settled_by_reading", fault("empty_201", **STORED)),
    retryable("empty_204_each_time", status(204, "empty"), "empty_body"),
    recovers("wrong_id", fault("wrong_id", **FIRST), "wrong_id"),
    retryable("wrong_id_each_time_is_no_proof", fault("wrong_id"), "wrong_id"),
    Case("odd_body_is_linked", fault("odd_body")),
    Case("odd_body_in_xml_is_linked", fault("odd_body"), options={"wire": "xml"}),
    recovers("gzip_junk", fault("gzip_junk", **FIRST), "body_cut"),
    Case("gzip_junk_each_time_is_settled_by_reading", fault("gzip_junk")),
    recovers(
        "oversized_body",
        fault("oversized", bytes=300_000, **SOME),
        "body_too_large",
        patches={"worker.portal.http.MAX_BODY": 100_000},
    ),
    Case(
        "oversized_body_each_time_is_settled_by_reading",
        fault("oversized", bytes=300_000),
        patches={"worker.portal.http.MAX_BODY": 100_000},
    ),
    Case(
        "gzip_bomb_is_settled_by_reading",
        deliver=sends(gzip_bomb),
        patches={"worker.portal.http.MAX_BODY": 100_000},
    ),
    recovers("xml_bomb", fault("xml_bomb", **FIRST), "odd_body", options={"wire": "xml"}),
    retryable("xml_bomb_each_time", fault("xml_bomb"), "odd_body", options={"wire": "xml"}),
    retryable("error_called_a_success", status(200, "envelope"), "error_in_success"),
    Case(
        "good_answer_with_an_odd_location",
        deliver=sends(odd_location),
    ),
)

STATUSES = (
    recovers("500", status(500, "envelope", **FIRST), "server_error"),
    recovers("500_after_store", status(500, "envelope", **FIRST, **STORED), "server_error"),
    retryable("500_each_time", status(500, "envelope"), "server_error"),
    Case("500_each_time_after_store_is_settled_by_reading", status(500, "envelope", **STORED)),
    recovers("500_page", status(500, **FIRST), "server_page"),
    retryable("500_page_each_time", status(500), "server_page"),
    recovers("500_doubled_envelope", fault("doubled_envelope", **FIRST), "server_error"),
    retryable("500_doubled_envelope_each_time", fault("doubled_envelope"), "server_error"),
    recovers("502", status(502, **FIRST), "gateway_error"),
    retryable("502_each_time", status(502), "gateway_error"),
    Case("502_each_time_after_store_is_settled_by_reading", status(502, **STORED)),
    # A 503 that does not speak of our pace is waited for, by everyone: it burns no attempt.
    recovers("503_page", status(503, **SOME), "unavailable", patches=SOON, options={"max_attempts": 1}),
    recovers(
        "503_empty", status(503, "empty", **SOME), "maintenance", patches=SOON, options={"max_attempts": 1}
    ),
    recovers("503_envelope", status(503, "envelope", **SOME), "unavailable", patches=SOON),
    Case(
        "503_page_of_two_pairs_each_time",
        status(503, only=[[1, 1], [2, 2]]),
        5,
        {"linked": PAIRS - 2, "retryable": 2},
        "unavailable",
        held=PAIRS - 2,
        patches=AT_ONCE,
    ),
    Case(
        "503_page_each_time",
        status(503),
        5,
        {"not_attempted": PAIRS},
        "the portal has failed for 1s",
        held=0,
        options={"give_up_after": 1.0},
    ),
    recovers("504", status(504, **FIRST), "gateway_error"),
    retryable("504_each_time", status(504), "gateway_error"),
    Case("504_each_time_after_store_is_settled_by_reading", status(504, **STORED)),
    recovers("520_of_a_cloud", status(520, **FIRST), "gateway_error"),
    recovers("408", status(408, **FIRST), "request_timeout"),
    recovers("425", status(425, **FIRST), "too_early"),
    retryable("odd_status_each_time", status(799), "odd_status"),
    rejected("501", status(501, "envelope"), "not_supported"),
    rejected("400_envelope", status(400, "envelope"), "bad_argument"),
    rejected("418", status(418, "envelope"), "refused"),
    recovers("400_page", status(400, **FIRST), "bad_request"),
    recovers("400_page_under_one_spelling", status(400, extension="", only=[[5, 5]]), "bad_request"),
    recovers(
        "400_page_under_one_spelling_in_xml",
        status(400, extension=".xml", only=[[5, 5]]),
        "bad_request",
        options={"wire": "xml"},
    ),
    retryable("400_page_each_time_says_nothing_about_a_pair", status(400), "bad_request"),
    rejected("access_denied", status(403, "envelope", hresult=-2146233078), "access_denied"),
    recovers("internal_403", fault("internal_403", **FIRST), "internal_fault"),
    rejected("internal_403_each_time", fault("internal_403"), "internal_fault"),
    Case(
        "missing_contacts",
        "[portal]\nmissing_contacts = [3, 7]",
        3,
        {"linked": PAIRS - 2, "rejected": 2},
        "contact_missing",
        held=PAIRS - 2,
    ),
    Case(
        "missing_contact_in_xml",
        "[portal]\nmissing_contacts = [3]",
        3,
        {"linked": PAIRS - 1, "rejected": 1},
        "contact_missing",
        held=PAIRS - 1,
        options={"wire": "xml"},
    ),
    Case(
        "missing_opportunities",
        "[portal]\nmissing_opportunities = [1, 30]",
        3,
        {"linked": PAIRS - 2, "rejected": 2},
        "opportunity_missing",
        held=PAIRS - 2,
    ),
    Case(
        "dangling_contact",
        "[portal]\ndangling_contacts = [5]",
        3,
        {"linked": PAIRS - 1, "rejected": 1},
        "contact_missing",
        held=PAIRS - 1,
    ),
    Case(
        "worth_another_try_comes_before_to_be_fixed",
        "[portal]\nmissing_contacts = [3]\n" + status(502, only=[[5, 5]]),
        5,
        {"linked": PAIRS - 2, "rejected": 1, "retryable": 1},
        "gateway_error",
        held=PAIRS - 2,
    ),
    Case(
        "refusal_after_a_lost_answer_is_settled_by_reading",
        fault("reset", **FIRST, **STORED, only=[[5, 5]]) + status(400, "envelope", only=[[5, 5]]),
    ),
    Case(
        "internal_403_after_store_each_time_is_settled_by_reading",
        fault("internal_403", **STORED),
    ),
)

REREADS = (
    recovers(
        "reading_that_is_throttled_is_done_again",
        fault("reset", **STORED) + status(429, **READS, times=3, retry_after="0"),
        "connection_lost",
    ),
    Case(
        "reading_that_fails_leaves_the_pair_unknown",
        fault("reset", **STORED) + status(502, **READS),
        5,
        {"unknown": PAIRS},
        "connection_lost",
    ),
    Case(
        "reading_that_brings_a_page_leaves_the_pair_unknown",
        fault("reset", **STORED) + fault("html_200", **READS),
        5,
        {"unknown": PAIRS},
        "connection_lost",
    ),
    Case(
        "reading_that_is_refused_leaves_the_pair_unknown",
        fault("reset", **STORED) + status(501, "envelope", **READS),
        5,
        {"unknown": PAIRS},
        "connection_lost",
    ),
    Case(
        "reading_of_a_portal_that_closed_leaves_what_was_sent_unknown",
        fault("reset", **STORED) + fault("payment_402", **READS),
        6,
        {"unknown": range(1, PAIRS + 1), "not_attempted": range(PAIRS)},
        "payment_required",
        held=range(1, PAIRS + 1),
    ),
)

ENDS = (
    stopped("crm_is_not_allowed", fault("forbidden_403", **LATE), "crm_not_allowed"),
    stopped(
        "crm_is_not_allowed_in_xml",
        fault("forbidden_403", **LATE),
        "crm_not_allowed",
        options={"wire": "xml"},
    ),
    stopped("subscription_ends", outage("payment_402", **LATE), "payment_required"),
    stopped("portal_is_suspended", outage("closed_404", **LATE), "portal_gone"),
    stopped(
        "maintenance_begins",
        outage("closed_503", **LATE),
        "maintenance",
        options={"give_up_after": 1.0},
    ),
    stopped("address_is_not_allowed_any_more", outage("ip_403", **LATE), "address_not_allowed"),
    stopped("firewall_blocks_us", status(403, **LATE), "blocked_by_proxy"),
    stopped("proxy_wants_a_password", status(407, **LATE), "proxy_password"),
    stopped("page_that_says_404", status(404, **LATE), "no_such_route"),
    stopped("method_not_allowed", status(405, **LATE), "request_not_accepted"),
    *(
        stopped(f"page_that_says_{code}", status(code, **LATE), "not_the_api")
        for code in (406, 409, 410, 412, 418, 421, 422, 423, 426, 451, 494, 499, 501, 505)
    ),
    stopped("empty_409", status(409, "empty", **LATE), "not_the_api"),
    Case(
        "page_that_says_400_to_everything",
        outage("status", status=400, body="html", **LATE),
        6,
        {"linked": 19, "retryable": range(12), "not_attempted": range(12)},
        "bad_request",
        held=19,
    ),
    stopped("redirect_to_another_host", fault("redirect", **LATE), "elsewhere.example"),
    stopped(
        "redirect_to_nowhere",
        fault("redirect", **LATE, location="http://[half"),
        "redirected",
    ),
    stopped("token_is_revoked", "[auth]\nrevoke_after_requests = 20", "unauthorized"),
    stopped(
        "token_is_revoked_and_no_log_in_helps",
        "[auth]\nrevoke_after_requests = 20",
        "log-in",
        options=LOGS_IN,
        patches={"worker.portal.auth.LOGIN_INTERVAL": 0.0},
    ),
    Case(
        "token_is_revoked_while_answers_were_lost",
        "[auth]\nrevoke_after_requests = 20\n" + fault("reset", **FIRST, **STORED),
        6,
        {"linked": range(19), "unknown": range(1, 20), "not_attempted": range(PAIRS - 19, PAIRS)},
        "unauthorized",
        held=range(1, 20),
    ),
    recovers(
        "token_that_expires_is_renewed_by_a_log_in",
        "[auth]\nexpires_after_requests = 15",
        "token_renewed",
        options=LOGS_IN,
        patches={"worker.portal.auth.LOGIN_INTERVAL": 0.0},
    ),
)

THROTTLED = (
    *(
        recovers(
            f"{code}_with_{name}",
            status(code, times=1, retry_after=text),
            "throttled",
            patches=SOON if most < 1.0 else {},
            paused=(least, most),
        )
        for code in (429, 503)
        for name, text, least, most in (
            ("seconds", "1", 1.0, 1.3),
            ("a_date", "date:+0", 1.0, 1.3),
            ("a_date_gone_by", "Thu, 01 Jan 1970 00:00:00 GMT", 0.0, 0.2),
            ("a_fraction_of_a_second", "0.3", 0.3, 0.5),
            ("a_date_beyond_all", "Fri, 31 Dec 9999 23:59:59 GMT", 0.3, 0.5),
            ("nothing_in_the_header", " ", 0.3, 0.5),
            ("garbage_in_the_header", "soon", 0.3, 0.5),
            ("a_negative_number", "-1", 0.3, 0.5),
            ("a_number_beyond_all", "9" * 40, 0.3, 0.5),
        )
    ),
    recovers("429_without_the_header", status(429, times=1), "throttled", patches=SOON, paused=(0.3, 0.5)),
    recovers("429_in_xml", status(429, times=1, retry_after="0"), "throttled", options={"wire": "xml"}),
    recovers(
        "429_more_often_than_a_pair_is_tried",
        status(429, per_pair=7, retry_after="0", only=[[1, 1], [2, 2]]),
        "throttled",
        patches=AT_ONCE,
    ),
    *(
        Case(
            f"429_without_end_with_{name}_ends_when_it_is_given_up",
            status(429, retry_after=text, **LATE),
            5,
            {"linked": 19, "not_attempted": PAIRS - 19},
            "the portal has only asked to slow down for 1s",
            held=19,
            options={"give_up_after": 1.0},
        )
        for name, text in (
            ("nothing", ""),
            ("garbage", "soon"),
            ("0", "0"),
            ("a_date_gone_by", "Thu, 01 Jan 1970 00:00:00 GMT"),
        )
    ),
    *(
        Case(
            f"{code}_that_asks_to_wait_{name}_ends_at_once",
            status(code, retry_after=text, **LATE),
            5,
            {"linked": 19, "not_attempted": PAIRS - 19},
            words,
            held=19,
        )
        for code in (429, 503)
        for name, text, words in (
            ("a_day", "86400", "the portal asks to wait 24 h, until 20"),
            ("until_a_date", "date:+7200", "the portal asks to wait 2 h, until 20"),
        )
    ),
    recovers(
        "rate_far_above_the_window",
        '[throttle]\nlimit = 20\nwindow = 0.5\nretry_after = "0"',
        "throttled",
    ),
    recovers(
        "rate_far_above_the_window_and_429",
        '[throttle]\nlimit = 20\nwindow = 0.5\nstatus = 429\nretry_after = "1"',
        "throttled",
        paused=(1.0, 3.5),
    ),
)

CASES = (*CONNECTION, *BODIES, *STATUSES, *REREADS, *ENDS, *THROTTLED)


# -- Running a case -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aside() -> Iterator[Aside[Any]]:
    """Run a coroutine on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    yield run
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off and wait out failures for hundredths of seconds, and hear nothing of the environment."""
    monkeypatch.setattr("worker.run.access.RetryPolicy", partial(RetryPolicy, base=0.02, cap=0.1))
    monkeypatch.setattr("worker.limits.outage.FIRST_WAIT", 0.02)
    monkeypatch.setattr("worker.limits.outage.LONGEST_WAIT", 0.05)
    monkeypatch.setattr("worker.operations.base.LOST_WAITS", (0.02, 0.1))
    monkeypatch.setattr("worker.site.GATHER", 0.01)
    for name in os.environ:
        if name.startswith("BULKLINK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    path = tmp_path / "pairs.csv"
    path.write_text("opportunity_id,contact_id\n" + "".join(f"{n},{n}\n" for n in range(1, PAIRS + 1)))
    return str(path)


def _run(
    folder: Path, url: str, pairs: str, options: Mapping[str, object], notes: list[str] | None = None
) -> tuple[Path, Report]:
    flags = {
        "portal": url,
        "token": "demo-token",
        "rate": "2000/s",
        "transport": "single",
        "existing": "post",
        "verbose": True,
        "runs_dir": folder / "runs",
        **options,
    }
    session = start(load_settings(flags), pairs, lambda: load_settings(flags))
    complete(session, lambda tally: None if notes is None else notes.append(tally.note))
    return session.directory.path, write_files(session.directory)


def _is_of_the_api(case: Case) -> bool:
    """Whether all that goes wrong is answers of the API itself, which an item of a batch can have, too."""
    scenario = Scenario.from_toml(case.scenario)
    is_calm = not scenario.outages and not scenario.throttle.limit and scenario.auth == Scenario().auth
    return (
        case.deliver is None
        and not case.is_cut
        and is_calm
        and all(fault.hits_items for fault in scenario.faults)
    )


@pytest.mark.parametrize(
    ("case", "transport"),
    [
        *(pytest.param(case, "single", id=case.name) for case in CASES),
        *(pytest.param(case, "batch", id=f"{case.name}-batch") for case in CASES if _is_of_the_api(case)),
    ],
)
def test_the_run_ends_as_it_should_and_tells_the_truth(
    case: Case,
    transport: str,
    aside: Aside[Any],
    pairs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for target, value in case.patches.items():
        monkeypatch.setattr(target, value)
    portal = Portal(Scenario.from_toml(case.scenario))
    stack = AsyncExitStack()
    aside(stack.enter_async_context(portal))
    try:
        url = portal.url
        if case.deliver is not None or case.is_cut:
            url = aside(stack.enter_async_context(Between(url, case.deliver, good=case.good))).url
        folder, report = _run(tmp_path, url, pairs, {"transport": transport, "batch_size": 7, **case.options})
    finally:
        aside(stack.aclose())

    _assert_truth(folder, report, portal)
    assert audit_run(RunDirectory(folder)) == []
    assert _fits(report.exit_code, case.code), report
    states = {state: n for state, n in report.counts.items() if state != "rows"}
    assert {state for state, n in states.items() if not _fits(n, case.counts.get(state, 0))} == set(), states
    assert _fits(len(portal.books.links()), case.held)
    if case.deliver is None and not case.is_cut:
        # Whatever they were for, and whatever came of them. Only a log-in is cut off when a run is refused.
        uncounted = portal.books.requests - report.requests.attempts
        assert 0 <= uncounted <= (case.options is LOGS_IN and case.code == 6)
    told = {cause.reason for cause in report.causes}
    if case.reason is None:
        assert (told, report.message) == (set(), "")
    else:
        assert case.reason in told or case.reason in report.message
    if case.retried is not None:
        assert case.retried in report.requests.retries_by_reason
    if case.paused is not None:
        least, most = case.paused
        assert least <= report.requests.paused_seconds <= most


def _fits(figure: int, wanted: Figure) -> bool:
    return figure in wanted if isinstance(wanted, range) else figure == wanted


def _assert_truth(folder: Path, report: Report, portal: Portal) -> None:
    states: dict[int, str] = {}
    for name in ("linked.csv", "rejected.csv", "retry.csv"):
        with (folder / name).open(newline="") as file:
            for row in csv.DictReader(file):
                number = int(row["_line"]) - 1
                assert number not in states, f"row {number} is told twice"
                assert row["opportunity_id"] == row["contact_id"] == str(number)
                states[number] = row["_status"]
    assert sorted(states) == list(range(1, PAIRS + 1))
    counts = {state: n for state, n in report.counts.items() if state != "rows"}
    assert report.counts["rows"] == report.input.rows == sum(counts.values()) == PAIRS
    assert {state: list(states.values()).count(state) for state in counts} == counts

    linked = {number for number, state in states.items() if state == "linked"}
    held = {opportunity for opportunity, _ in portal.books.links()}
    assert linked <= held, f"said to be linked, and are not: {sorted(linked - held)}"
    lost = {number for number in held - linked if states[number] not in {"unknown", "retryable"}}
    assert not lost, f"linked, and not told: {[(number, states[number]) for number in sorted(lost)]}"

    lines = (folder / "contacts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["contact_id"] for line in lines] == sorted(linked)

    secrets = {*portal._app._door._uses, "demo-password"}
    for path in folder.iterdir():
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path.name


# -- By either way the same end ------------------------------------------------------------------------------

ON_BOTH_WAYS = (
    "[portal]\nmissing_contacts = [3]\nmissing_opportunities = [8]\ndangling_contacts = [11]\n"
    + status(500, "envelope", share=0.3, per_pair=1)
    + status(500, "envelope", share=0.3, per_pair=1, **STORED)
    + status(403, "envelope", hresult=-2146233078, only=[[17, 17]])
    + status(500, "envelope", only=[[23, 23]])
)
"""What befalls pairs, however they are sent."""

BATCH: Mapping[str, Any] = {"on": "batch", "share": 0.4}

ON_BATCHES: Mapping[str, str] = {
    "reset": fault("reset", **BATCH),
    "reset after store": fault("reset", **BATCH, **STORED),
    "reset in the middle": fault("reset", **BATCH, items_done=-1),
    "body cut": fault("truncated", **BATCH),
    "gzip junk": fault("gzip_junk", **BATCH),
    "page": fault("html_200", **BATCH),
    "empty": fault("empty_201", **BATCH, **STORED),
    "502 in the middle": status(502, **BATCH, items_done=-1),
    "504 after store": status(504, **BATCH, **STORED),
    "500 page": status(500, **BATCH),
    "400 page": status(400, **BATCH),
    "400 page under one spelling": status(400, on="batch", extension=""),
    "refused as a whole in the middle": status(403, "envelope", hresult=-2146233078, on="batch", after=10),
    "429": status(429, **BATCH, retry_after="0"),
    "503 page": status(503, **BATCH),
    "hang after store": fault("hang", **{**BATCH, "share": 0.2}, **STORED),
    "forbidden in the middle": status(403, on="batch", after=10),
    "no route in the middle": status(404, on="batch", after=10),
    **{
        kind: fault(kind, **BATCH)
        for kind in (
            *("null_item", "missing_item", "extra_item", "permuted_items", "renamed_item", "swapped_names"),
            *("broken_item", "cut_items", "doubled_envelope"),
        )
    },
    "one pair breaks each batch": fault("doubled_envelope", on="batch", only=[[5, 5]]),
}


def _end(aside: Aside[Any], scenario: str, folder: Path, pairs: str, **options: object) -> Any:
    """Where each row and each link ends."""
    portal = Portal(Scenario.from_toml(scenario))
    aside(portal.__aenter__())
    try:
        run, report = _run(folder, portal.url, pairs, {"existing": "check", "timeout": 0.7, **options})
    finally:
        aside(portal.__aexit__(None, None, None))
    _assert_truth(run, report, portal)
    states: dict[str, tuple[str, str]] = {}
    for name in ("linked.csv", "rejected.csv", "retry.csv"):
        with (run / name).open(newline="") as file:
            states |= {row["_line"]: (row["_status"], row["_reason"]) for row in csv.DictReader(file)}
    return report.exit_code, states, sorted(portal.books.links())


@pytest.mark.parametrize("trouble", ON_BATCHES)
def test_pairs_and_links_end_by_batch_as_they_do_one_by_one(
    trouble: str, aside: Aside[Any], pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.limits.limiter.FLOOR", 0.02)
    scenario = "seed = 4\n" + ON_BOTH_WAYS + ON_BATCHES[trouble]

    alone = _end(aside, scenario, tmp_path / "single", pairs, transport="single")
    together = _end(aside, scenario, tmp_path / "batch", pairs, transport="auto", batch_size=7)

    assert {line: (end, alone[1][line]) for line, end in together[1].items() if end != alone[1][line]} == {}
    assert together == alone
    code, states, links = alone
    assert (code, len(states), len(links)) == (5, PAIRS, PAIRS - 5)


# -- What is reported is what arrived -----------------------------------------------------------------------


def test_every_request_of_a_verify_and_a_rollback_is_counted_also_over_connections_that_break(
    aside: Aside[Any], pairs: str, tmp_path: Path
) -> None:
    portal = Portal(Scenario())
    aside(portal.__aenter__())
    try:
        options = {"existing": "check", "run_id": "one", "concurrency": 2}
        folder, _ = _run(tmp_path, portal.url, pairs, options)
        portal.scenario = Scenario.from_toml(
            fault("reset", **READS, share=0.2) + fault("reset", on="delete", share=0.2)
        )
        flags = {"portal": portal.url, "token": "demo-token", "rate": "2000/s", "transport": "single"}
        settings = load_settings({**flags, **options})
        for verb in (verify, roll_back):
            before = portal.books.requests
            directory = RunDirectory(folder)
            done = verb(directory, settings, access_of(directory, settings, None), lambda _tally: None)
            assert portal.books.requests - before == done.requests
            assert done.requests > PAIRS
    finally:
        aside(portal.__aexit__(None, None, None))


# -- Portals that are not reached at all --------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr("worker.portal.tries.FIRST_PAUSE", 0.0)


def _fails_to_start(
    folder: Path, url: str, pairs: str, notes: list[str] | None = None, **options: object
) -> str:
    with pytest.raises(PortalUnreachable) as caught:
        _run(folder, url, pairs, options, notes)
    assert caught.value.exit_code == 6
    assert not list((folder / "runs").iterdir())
    (line,) = str(caught.value).splitlines()
    assert url in line
    return line


@pytest.mark.usefixtures("impatient")
def test_a_name_that_does_not_resolve_is_exit_6(
    pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_place: object, **_hints: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert "not known" in _fails_to_start(tmp_path, "https://portal.invalid", pairs)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate with")
def test_a_certificate_that_nobody_signed_is_exit_6_and_sees_no_token(
    aside: Aside[Any], pairs: str, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [*OPENSSL.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    server = aside(asyncio.start_server(listen, "127.0.0.1", 0, ssl=context))
    try:
        port = server.sockets[0].getsockname()[1]
        line = _fails_to_start(tmp_path, f"https://127.0.0.1:{port}", pairs)
    finally:
        aside(_closed(server))

    assert "certificate is not trusted (self-signed certificate); " in line
    assert "--ca-file, or SSL_CERT_FILE" in line
    assert b"".join(heard) == b""


@pytest.mark.usefixtures("impatient")
def test_https_to_a_port_that_speaks_none_is_exit_6(aside: Aside[Any], pairs: str, tmp_path: Path) -> None:
    portal = Portal()
    aside(portal.__aenter__())
    try:
        line = _fails_to_start(tmp_path, portal.url.replace("http:", "https:"), pairs)
    finally:
        aside(portal.__aexit__(None, None, None))

    assert "it answers, but not with TLS; is it http://, or another port?" in line
    assert portal.books.requests == 0


@pytest.mark.parametrize("credentials", [{}, LOGS_IN], ids=["token", "log-in"])
@pytest.mark.parametrize(("status_code", "bound"), [(429, "give_up_after"), (503, "max_duration")])
def test_a_portal_that_asks_to_wait_for_too_long_from_the_start_is_given_up_at_once(
    status_code: int,
    bound: str,
    credentials: Mapping[str, object],
    aside: Aside[Any],
    pairs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.portal.tries.LONG_PAUSE", 0.5)
    portal = Portal(Scenario.from_toml(outage("status", status=status_code, retry_after="86400")))
    aside(portal.__aenter__())
    notes: list[str] = []
    try:
        line = _fails_to_start(tmp_path, portal.url, pairs, notes, **{bound: 1.0}, **credentials)
    finally:
        aside(portal.__aexit__(None, None, None))

    assert "asks to wait 24 h, until 20" in line
    assert "--give-up-after is 1s" in line
    assert notes == []
    assert portal.books.requests == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "trouble",
    [
        *map(outage, ("reset", "html_200", "empty_200", "gzip_junk", "truncated", "doubled_envelope")),
        *(
            outage("status", status=code, body="html")
            for code in (400, 406, 409, 410, 412, 418, 421, 422, 423, 426, 451, 494, 499, 500, 501, 505)
        ),
    ],
)
@pytest.mark.parametrize("credentials", [{}, LOGS_IN], ids=["token", "log-in"])
def test_a_server_that_never_answers_in_the_apis_own_words_is_exit_6(
    trouble: str, credentials: Mapping[str, object], aside: Aside[Any], pairs: str, tmp_path: Path
) -> None:
    portal = Portal(Scenario.from_toml(trouble))
    aside(portal.__aenter__())
    try:
        with pytest.raises(PortalError) as caught:
            _run(tmp_path, portal.url, pairs, credentials)
    finally:
        aside(portal.__aexit__(None, None, None))

    assert caught.value.exit_code == 6
    assert "\n" not in str(caught.value)
    assert portal.books.posts == 0
    assert not list((tmp_path / "runs").iterdir())


async def _closed(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()
