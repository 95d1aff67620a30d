"""One portal, as whom we say we are: every request that leaves, and what its answer proves.

An expected failure is a value. An exception is an answer about us instead of about a pair; nothing later can
succeed, so it ends the run. Nothing is sent outside a slot.
"""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import msgspec

from worker.errors import PortalClosed, PortalUnreachable, WrongBaseUrl
from worker.limits import Limiter
from worker.models import READS, Ask, Kind, Request, Result
from worker.portal.auth import Credentials, Tokens
from worker.portal.calls import HARMLESS, Call, Read, judge, read_answer
from worker.portal.classify import Verdict, classify_failure, heed_page
from worker.portal.http import Failure, Http, Reply
from worker.portal.login import log_in
from worker.portal.spelling import Spellings
from worker.portal.tries import Tries, Waiting
from worker.portal.wire import WireFormat
from worker.reasons import BAD_REQUEST, BLOCKED, MAINTENANCE, PERHAPS_LINKED, RENEWED

FORM = "application/x-www-form-urlencoded"


class Finding(msgspec.Struct, frozen=True):
    """One request and its answer, judged.

    Attributes:
        read: the body; None if no answer came, or one about our token.
        detail: of a failure, for a person.
        final: no repetition can change it.
    """

    verdict: Verdict
    seconds: float
    http_status: int | None = None
    retry_after: float | None = None
    read: Read | None = None
    detail: str = ""
    final: bool = False

    def request(self, kind: Kind, asks: Sequence[Ask] = ()) -> Request:
        """What limits learn from it: a refusal of us or of a token is an answer of a portal at work.

        So is what AppServer says of a link that is there already. When it fails, looks will fail, too.
        """
        result = self.verdict.result
        if result is None or self.verdict.reason in {RENEWED, PERHAPS_LINKED}:
            result = Result.PERMANENT
        return Request(
            kind,
            result,
            items=len(asks),
            again=sum(bool(ask.because) for ask in asks),
            repeated=tuple(ask.because for ask in asks if ask.because and ask.kind not in READS),
            reason=self.verdict.reason,
            http_status=self.http_status,
            retry_after=self.retry_after,
            seconds=self.seconds,
        )


class PortalClient:
    """One portal. Use as an async context manager.

    Args:
        base: address of the portal, without ``/api/2.0``.
        credentials: who we are.
        limiter: gives the slots in which log-ins and harmless questions are sent.
        wire: form in which answers are asked for (contract 1b).
        timeout: seconds for one request, connecting included.
        waiting: bounds the waits of what is about no pair.
        tls: whom we trust, and who we are; None for what the system trusts.
        proxy: URL of a proxy to go through, with credentials if it wants any.
    """

    def __init__(
        self,
        base: str,
        credentials: Credentials,
        limiter: Limiter,
        *,
        wire: WireFormat,
        timeout: float,
        waiting: Waiting | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._http = Http(base, timeout=timeout, tls=tls, proxy=proxy)
        self._limiter = limiter
        self._waiting = waiting or Waiting()
        self._is_at_work = False
        self._tokens = Tokens(credentials, self._log_in)
        self._spellings = Spellings(wire)
        self._form_spellings = Spellings("json")  # a batch is always answered in it

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def _log_in(self, username: str, password: str) -> str:
        # A portal that fails in the middle of the work is waited for, as it is for pairs.
        waiting = replace(self._waiting, is_patient=self._is_at_work)
        return await log_in(self._http, self._limiter, waiting, username, password)

    async def ready(self) -> None:
        """Make sure that there is a token to send; may log in, in a slot of its own.

        Raises:
            PortalError: the log-in was refused, or did not get through.
            UsageError: the token cannot be read.
        """
        await self._tokens.ready()

    async def change(self, credentials: Credentials) -> None:
        """Go on with these credentials; a token is read now, a log-in comes when it is needed.

        Raises:
            UsageError: there is no token to be read; nothing has changed.
        """
        await self._tokens.change(credentials)

    async def probe(self) -> None:
        """Make sure, without touching anything, that the portal is there and takes us.

        Only the API's own envelope is taken for an answer.

        Raises:
            PortalError: the portal refuses us, is closed, is no portal, or does not answer.
        """
        tries = self.tries()
        while True:
            finding = await self._harmless()
            verdict = finding.verdict
            if verdict.result in (Result.OK, Result.PERMANENT):
                tries.end()
                self._is_at_work = True
                return
            if verdict.reason == RENEWED:
                continue
            if finding.final or not await tries.again(finding.retry_after, throttled=verdict.is_pacing):
                if verdict.reason == MAINTENANCE:
                    raise PortalClosed(f"{self._http.origin}: {finding.detail} {MAINTENANCE}: {verdict.hint}")
                raise PortalUnreachable(f"{self._http.origin}: {finding.detail}: {verdict.hint}")

    def tries(self) -> Tries:
        """The tries of a question that is about no operation."""
        return Tries(self._http.origin, self._waiting)

    async def question(self) -> Request:
        """Ask once what :meth:`probe` asks; ok or permanent says that the portal is at work.

        Raises:
            PortalError: it refuses us, is closed, or is no portal.
        """
        return (await self._harmless()).request(Kind.PROBE)

    async def _harmless(self) -> Finding:
        await self.ready()
        is_last_spelling = self._spellings.is_on_trial(HARMLESS.path)
        finding = await self.ask(HARMLESS, partial(read_answer, None))
        if is_last_spelling and finding.verdict.reason == BAD_REQUEST:
            # Two spellings of one good address are not both among the few that Mono refuses (contract 10.4).
            hint = finding.verdict.hint
            raise WrongBaseUrl(f"{self._http.origin}: {finding.detail} {BAD_REQUEST}: {hint}")
        return finding

    def spelled(self, path: str) -> str:
        """A path with the extension that it is to be sent with now."""
        return self._spellings.of(path)

    async def ask(self, call: Call, read: Callable[[str | None, bytes], Read]) -> Finding:
        """Send a question that is about no operation, in a slot of its own.

        Raises:
            PortalError: it refuses us, is closed, or is no portal.
        """
        await self.ready()
        async with self._limiter.slot(past_hold=True) as slot:
            finding = await self.send(call, read, Kind.PROBE)
            slot.observe(finding.request(Kind.PROBE))
        return finding

    async def send(
        self,
        call: Call,
        read: Callable[[str | None, bytes], Read],
        kind: Kind,
        asks: Sequence[Ask] = (),
    ) -> Finding:
        """Send one request with our token, within a slot, and judge the answer.

        Args:
            call: what is sent.
            read: reads the body, by its content type, and looks in it for what was asked for.
            kind: what the request is for.
            asks: those that it carries.

        Raises:
            PortalError: it refuses us, is closed, or is no portal.
        """
        token = self._tokens.token
        headers = {"Authorization": token}
        options: dict[str, Any] = {} if call.query is None else {"params": call.query}
        if call.form is not None:
            headers |= {"Content-Type": FORM, "Accept-Encoding": "gzip"}
            options["data"] = call.form
        spellings = self._spellings if call.form is None else self._form_spellings
        address = spellings.of(call.path)
        reply = await self._http.call(call.method, address, headers=headers, **options)
        if isinstance(reply, Failure):
            verdict = classify_failure(reply.kind, sent=call.writes)
            return Finding(verdict, reply.seconds, detail=reply.detail, final=reply.final)
        if reply.status == 401 and self._tokens.refused(token):  # noqa: PLR2004 - HTTP
            # Not sent again from here: this request, like any other, has to wait for its turn.
            return Finding(Verdict(Result.THROTTLED, RENEWED), reply.seconds, reply.status)
        self._tokens.accepted(token)
        body = read(reply.headers.get("Content-Type"), reply.body)
        verdict = judge(
            body,
            reply.status,
            writes=call.writes,
            is_paced=reply.advice.is_paced,
            location=self._target(reply, token),
        )
        verdict = heed_page(verdict, reply.body)
        detail = f"HTTP {reply.status}"
        finding = Finding(verdict, reply.seconds, reply.status, reply.advice.wait, body, detail)
        if verdict.stop is not None and not (call.dispensable and _is_of_the_route(verdict)):
            # Here, for the error goes past whoever observes what it returns: this request counts like any.
            self._limiter.observe(finding.request(kind, asks))
            raise verdict.stop(f"{self._http.origin}: {detail} {verdict.reason}: {verdict.hint}")
        spellings.learn(call.path, address, refused=verdict.reason == BAD_REQUEST)
        return finding

    def _target(self, reply: Reply, token: str) -> str | None:
        """Where an answer leads to; None if nowhere, or to an address that is not to be named."""
        location = reply.headers.get("Location")
        if location is None or token.lower() in unquote(location).lower():
            return None
        return self._http.target(location)


def _is_of_the_route(verdict: Verdict) -> bool:
    """Whether it is the address that is refused, and not we."""
    return verdict.stop is WrongBaseUrl or verdict.reason == BLOCKED
