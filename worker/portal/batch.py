"""Many operations in one request: the portal's own batch (contract 7, and 10.9 to 10.19).

A batch is carried out strictly in order, and goes on to its end when we are gone. Each of its items is
answered as it would be alone, and that answer goes through the same table. An item without an answer of its
own proves nothing: not that it was done, nor that it was not.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from string import punctuation
from typing import Any
from urllib.parse import quote_plus

import orjson
from msgspec.structs import replace
from yarl import URL

from worker.limits.batch_size import BatchSize
from worker.models import Ask, Attempt, Exchange, Kind, Request, Result
from worker.portal.calls import HARMLESS, Call, Read, attempt_of, call_for, judge, read_answer
from worker.portal.classify import Verdict, read_body
from worker.portal.client import Finding, PortalClient
from worker.portal.doubt import Doubt
from worker.portal.identity import WHO, User, read_profile, user_in
from worker.portal.single import Single
from worker.reasons import BLOCKED, NO_ITEM, NOT_FOUND, RENEWED, TIMEOUT, TOO_LARGE

_DUMMY_BODY = "_=1"
"""Mono fails every item but a GET that has no body of its own (contract 10.11)."""

_ESCAPES = [(one.encode(), quote_plus(one).encode()) for one in "%" + punctuation.replace("%", "")]

_TOO_LARGE = 413
_SMALLEST = 3
"""Operations; half of so few is no batch any more."""

_ANSWERED = {Result.OK, Result.PERMANENT}
_THROTTLED = Result.THROTTLED
_FAILED = {Result.TRANSIENT, Result.AMBIGUOUS}


class Batch:
    """Sends as many operations at once as the portal answers in good time.

    Args:
        client: the portal.
        size: says how many.
        forbid: called once if the portal does not take batches any more, with the reason in words for the
            user; from then on each goes alone.
    """

    def __init__(self, client: PortalClient, size: BatchSize, forbid: Callable[[str], None]) -> None:
        self._client = client
        self._size = size
        self._forbid = forbid
        self._single = Single(client)
        self._forbidden = False
        self._alone = False
        self._of_lost = Doubt(first=2, then=1, heard=4)
        self._of_throttled = Doubt(first=3, then=3, heard=3)
        self._taken = 0  # bytes of the largest that was answered

    @property
    def size(self) -> int:
        """Most operations that the next request carries."""
        is_doubted = self._of_lost.wants_one_alone or self._of_throttled.wants_one_alone
        return 1 if self._alone or self._forbidden or is_doubted else self._size.size

    @property
    def sizes(self) -> BatchSize:
        """What says how many, as long as batches are taken."""
        return self._size

    def ready(self, asks: Sequence[Ask]) -> AbstractAsyncContextManager[None]:
        """Wait until these may be sent, see :meth:`worker.portal.single.Single.ready`."""
        return self._single.ready(asks)

    async def send(self, asks: Sequence[Ask]) -> Exchange:
        """Send one request.

        Raises:
            PortalError: the portal refuses us, is closed, or is no portal.
        """
        if len(asks) == 1:
            return await self._send_alone(asks)
        lost_before, throttled_before = self._of_lost.lost, self._of_throttled.lost
        exchange = await self._send(asks)
        self._single.first_look.learn(asks, exchange.attempts)
        self._learn(exchange, lost_before, throttled_before)
        return exchange

    async def _send_alone(self, asks: Sequence[Ask]) -> Exchange:
        self._alone = False
        exchange = await self._single.send(asks)
        (attempt,) = exchange.attempts
        is_answered = attempt.result in _ANSWERED
        self._of_lost.one_sent(answered=is_answered)
        self._of_throttled.one_sent(answered=is_answered)
        if self._size.size == 1 and (is_answered or attempt.reason == TIMEOUT):
            # Batches that had to become as small as that grow again by it, or they never would.
            self._size.observe(1, attempt.seconds)
        return exchange

    async def _send(self, asks: Sequence[Ask]) -> Exchange:
        calls = [call_for(ask) for ask in asks]
        batch = _batch_of(self._client, calls)
        finding = await self._client.send(batch, _read_batch, Kind.BATCH, asks)
        request = finding.request(Kind.BATCH, asks)
        if finding.verdict.stop is not None or finding.verdict.result is Result.PERMANENT:
            # The route is refused, not we and no pair: nothing was carried out, and it goes another way.
            self._refused(finding, len(asks), len(batch.form or b""))
            again = Attempt(Result.THROTTLED, finding.verdict.reason, finding.http_status, finding.seconds)
            return Exchange(request, (again,) * len(asks))
        items = finding.read.proof if finding.read is not None else None
        if finding.verdict.reason == TOO_LARGE:
            self._size.too_large(len(asks))
        elif isinstance(items, list) or finding.verdict.reason == TIMEOUT:
            self._size.observe(len(asks), finding.seconds)  # one that broke off says nothing, however soon
        if not isinstance(items, list):
            return Exchange(request, tuple(self._unanswered(ask, finding) for ask in asks))
        self._taken = max(self._taken, len(batch.form or b""))
        attempts = tuple(
            self._attempt(number, ask, call, items, finding)
            for number, (ask, call) in enumerate(zip(asks, calls, strict=True))
        )
        return Exchange(_summed_up(request, attempts), attempts)

    def _refused(self, finding: Finding, items: int, size: int) -> None:
        """Perhaps it is only too large for a proxy, and one of half of it is not."""
        of_size = finding.http_status == _TOO_LARGE or finding.verdict.reason == BLOCKED
        if of_size and size > self._taken and items > _SMALLEST:
            self._size.too_large(items)
        else:
            self._give_up(f"the portal stopped taking batches: {finding.detail} {finding.verdict.reason}")

    def _learn(self, exchange: Exchange, lost_before: int, throttled_before: int) -> None:
        request = exchange.request
        is_last = False
        if any(attempt.result in _ANSWERED for attempt in exchange.attempts):
            self._of_lost.batch_answered()
            self._of_throttled.batch_answered()
        elif request.result is _THROTTLED:
            is_last = self._of_throttled.batch_lost(throttled_before)
        elif request.result in _FAILED:
            in_a_row = self._of_lost.lost
            is_last = self._of_lost.batch_lost(lost_before)
            if self._of_lost.is_grave and self._of_lost.lost > in_a_row:
                self._size.lost()
        if is_last:
            status = "" if request.http_status is None else f"HTTP {request.http_status} "
            self._give_up(f"batches fail, requests of one do not: {status}{request.reason}")

    def _give_up(self, why: str) -> None:
        if not self._forbidden:  # several may be on their way
            self._forbidden = True
            self._forbid(why)

    def _unanswered(self, ask: Ask, finding: Finding) -> Attempt:
        """No item has an answer: what is known of the whole request holds for each."""
        attempt = attempt_of(ask, finding.verdict, None, finding.http_status, finding.seconds)
        return replace(attempt, shared=True)

    def _attempt(self, number: int, ask: Ask, call: Call, items: list[Any], finding: Finding) -> Attempt:
        """What the answer to one item says."""
        status, data = _told(items, number)
        if status is None:
            return Attempt(Result.AMBIGUOUS, NO_ITEM, finding.http_status, finding.seconds, shared=True)
        read = read_answer(ask, None, data, is_utf8=True)
        verdict = judge(read, status, writes=call.writes)
        if verdict.result is _THROTTLED:
            # Nobody slows down a single item: it was not carried out, as it says, and everyone else was.
            verdict = replace(verdict, result=Result.TRANSIENT)
        elif verdict.stop is not None:
            # About us, it seems, and before anything was done for this one: it is as if it had not been sent.
            # But others of the batch were carried out: the next request goes alone, and if it is told the
            # same, the run ends in order.
            self._alone = True
            verdict = Verdict(Result.THROTTLED, verdict.reason, hint=verdict.hint)
        return attempt_of(ask, verdict, read, status, finding.seconds)


@dataclass(frozen=True, slots=True)
class FirstBatch:
    """What became of asking something harmless in a batch.

    Attributes:
        why_not: what came instead of its answer; empty if the portal takes batches.
        user: whom it takes us for; None if it did not tell.
    """

    why_not: str
    user: User | None = None


async def first_batch(client: PortalClient) -> FirstBatch:
    """Ask for something harmless in a batch, and beside it who we are, which so costs no request.

    Only a refusal decides at once; a failure that may pass is asked about again, like the probe. Then the
    harmless question is alone in it: an item that fails can break a batch off (contract 10.13).

    Raises:
        PortalError: the portal refuses us, is closed, is no portal, or only throttles us for too long.
    """
    tries = client.tries()
    calls = [HARMLESS, WHO]
    while True:
        finding = await client.ask(_batch_of(client, calls), _read_batch)
        verdict, user = _of_harmless(finding, len(calls))
        if verdict.reason == RENEWED:
            continue
        calls = [HARMLESS]
        is_there = verdict.result is Result.OK or verdict.reason == NOT_FOUND
        is_refused = verdict.stop is not None or verdict.result is Result.PERMANENT or finding.final
        if is_there or is_refused or not await tries.again(finding.retry_after, throttled=verdict.is_pacing):
            tries.end()
            return FirstBatch("" if is_there else f"{finding.detail} {verdict.reason}", user)


def _of_harmless(finding: Finding, count: int) -> tuple[Verdict, User | None]:
    """What the first item of ``count`` proves, and whom the second names; or the batch, if it has no such."""
    if finding.verdict.result is not Result.OK:
        return finding.verdict, None
    items = finding.read.proof if finding.read is not None else None
    if not isinstance(items, list) or len(items) != count:
        return Verdict(Result.AMBIGUOUS, NO_ITEM), None
    (status, data), *others = [_told(items, number) for number in range(count)]
    if status is None:
        return Verdict(Result.AMBIGUOUS, NO_ITEM), None
    profiles = [user_in(read_profile(None, text)) for told, text in others if told is not None]
    verdict = judge(read_answer(None, None, data), status, writes=False)
    return verdict, next(iter(profiles), None)


def _told(items: list[Any], number: int) -> tuple[int | None, bytes]:
    """Status and body of the answer to an item, which is in its place and bears its name; None if none is."""
    item = items[number] if number < len(items) else None
    if not isinstance(item, dict) or item.get("name") != str(number):
        return None, b""
    status, data = item.get("status"), item.get("data")
    if not isinstance(status, int) or not isinstance(data, str):
        return None, b""
    return status, data.encode()


def _batch_of(client: PortalClient, calls: Sequence[Call]) -> Call:
    """One call that carries these out; asks for no more of the answer than is read (contract 10.17)."""
    items = []
    for number, call in enumerate(calls):
        path = f"api/2.0/{client.spelled(call.path)}"
        if call.query:
            path = f"{path}?{URL.build(query=call.query).raw_query_string}"
        item = {"name": str(number), "relativeUrl": path, "method": call.method}
        if call.writes:
            item["body"] = _DUMMY_BODY
        items.append(item)
    form = b"batch=" + _quoted(orjson.dumps(items))
    return Call("POST", "batch", {"fields": "name,status,data"}, form=form, dispensable=True)


def _quoted(text: bytes) -> bytes:
    """The same as ``quote_plus`` of ASCII without spaces or control characters, which goes byte by byte."""
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _read_batch(content_type: str | None, body: bytes) -> Read:
    kind, envelope = read_body(content_type, body, build=True)
    sound = envelope is not None and envelope.error_message is None and envelope.wire == "json"
    items = envelope.response if sound and envelope is not None else None
    return Read(kind, envelope, items if isinstance(items, list) else None)


def _summed_up(request: Request, attempts: Sequence[Attempt]) -> Request:
    """A batch is answered with success whatever becomes of its items; that most of them fail is a failure."""
    failed = [attempt for attempt in attempts if attempt.result in _FAILED]
    if 2 * len(failed) < len(attempts):
        return request
    reason, _ = Counter(attempt.reason for attempt in failed).most_common(1)[0]
    return replace(request, result=Result.AMBIGUOUS, reason=reason)
