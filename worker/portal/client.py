"""The calls bulklink makes, each a fixed verb and path, and what their answers prove.

An expected failure is a value, an :class:`Attempt`. An exception is an answer about us instead of about a
pair; nothing later can succeed, so it ends the run.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar

from yarl import URL

from worker.breaker import NOT_STORED
from worker.contact import Contact
from worker.errors import PortalUnreachable, WrongBaseUrl
from worker.limiter import RENEWED
from worker.models import Attempt, Look, Member, Pair, Result
from worker.portal.auth import Credentials, Session
from worker.portal.classify import (
    BAD_REQUEST,
    NOT_FOUND,
    Answer,
    Verdict,
    classify,
    classify_failure,
    read_body,
)
from worker.portal.http import Failure, Http
from worker.portal.login import log_in
from worker.portal.spelling import Spellings
from worker.portal.tries import Tries, Waiting
from worker.portal.wire import Envelope, WireFormat, as_list, contact_of

_T = TypeVar("_T")
_Proof = tuple[Contact | None, bytes]


@dataclass(frozen=True, slots=True)
class Finding(Generic[_T]):
    """An answer, judged.

    Attributes:
        proof: what the body shows, if it shows what was asked for.
        detail: of a failure, for a person.
        final: no repetition can change it.
    """

    attempt: Attempt
    verdict: Verdict
    proof: _T | None = None
    detail: str = ""
    final: bool = False


class PortalClient:
    """One portal and our session with it. Use as an async context manager.

    Args:
        base: address of the portal, without ``/api/2.0``.
        wire: form in which answers are asked for (contract 1b).
        timeout: seconds for one request, connecting included.
        waiting: bounds the waits of what is about no pair.
    """

    def __init__(
        self,
        base: str,
        credentials: Credentials,
        *,
        wire: WireFormat,
        timeout: float,
        waiting: Waiting | None = None,
    ) -> None:
        self._http = Http(base, timeout=timeout)
        self._waiting = waiting or Waiting()
        self._session = Session(credentials, partial(log_in, self._http, self._waiting))
        self._spellings = Spellings(wire)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def probe(self) -> None:
        """Make sure, without touching anything, that the portal is there and takes us.

        Asks for the members of opportunity 0, which never exists: a portal in order says so in the API's own
        404 (contract 1.5), and anything amiss answers otherwise (contract 3.3, 3.4).

        Only the API's own envelope is taken for an answer.

        Raises:
            PortalError: the portal refuses us, is closed, is no portal, or does not answer.
        """
        tries = Tries(self._http.origin, self._waiting)
        while True:
            finding = await self._harmless(tries.made + 1)
            attempt, verdict = finding.attempt, finding.verdict
            if attempt.result in (Result.OK, Result.PERMANENT):
                tries.end()
                return
            if verdict.reason == RENEWED:
                continue
            throttled = attempt.result is Result.THROTTLED
            if finding.final or not await tries.again(attempt.retry_after, throttled=throttled):
                raise PortalUnreachable(f"{self._http.origin}: {finding.detail}: {verdict.hint}")

    async def change(self, credentials: Credentials) -> None:
        """Go on with these credentials; a token is read now, a log-in comes when it is needed.

        Raises:
            UsageError: there is no token to be read; nothing has changed.
        """
        await self._session.change(credentials)

    async def look(self) -> Attempt:
        """Ask once what :meth:`probe` asks; ok or permanent says that the portal is at work.

        Raises:
            PortalError: it refuses us, is closed, or is no portal.
        """
        return (await self._harmless(1)).attempt

    async def _harmless(self, number: int) -> Finding[Envelope]:
        path = _members_of(0)
        is_last_spelling = self._spellings.is_other(path)
        finding = await self._ask("GET", path, _sound, number, params={"count": "1", "fields": "id"})
        if is_last_spelling and finding.verdict.reason == BAD_REQUEST:
            # Two spellings of one good address are not both among the few that Mono refuses (contract 10.4).
            raise WrongBaseUrl(f"{self._http.origin}: {finding.detail} {BAD_REQUEST}: {finding.verdict.hint}")
        return finding

    async def link(self, pair: Pair, number: int) -> Attempt:
        """Ask the portal once to store the link (contract 0, 4.1)."""
        return await self._write("POST", pair, number)

    async def unlink(self, pair: Pair, number: int) -> Attempt:
        """Ask the portal once to remove the link; of CommunityServer only, for AppServer removes them all.

        Ok also if there was no such link (contract 4.3, 4.4).
        """
        return await self._write("DELETE", pair, number)

    async def find(self, opportunity_id: int, contact_ids: Collection[int], number: int) -> Look:
        """Look for some contacts among the members of an opportunity (contract 5.5).

        Args:
            opportunity_id: whose members.
            contact_ids: at most a page of members (contract 5.2).
            number: of the request.
        """
        sought = ",".join(map(str, contact_ids))
        params = {"filterBy": "id", "filterOp": "equals", "filterValue": sought}
        finding = await self._read(opportunity_id, params, number)
        attempt, envelope = finding.attempt, finding.proof
        if attempt.result is Result.THROTTLED or attempt.reason == NOT_FOUND:
            return Look(attempt)
        if envelope is None:
            return Look(replace(attempt, result=Result.AMBIGUOUS))
        members = [replace(envelope, response=item) for item in as_list(envelope.response)]
        found = {}
        for contact_id in contact_ids:
            for member in members:
                if (proof := contact_of(member, contact_id)) is not None:
                    found[contact_id] = Member(*proof)
        return Look(attempt, found, strangers=len(members) - len(found))

    async def reread(self, pair: Pair, number: int) -> Attempt:
        """Look for the link among the opportunity's members.

        Returns:
            ok with the Contact if it is there; transient if it is certainly not; throttled if it is to be
            asked again later; ambiguous if the members cannot be read.
        """
        look = await self.find(pair.opportunity_id, [pair.contact_id], number)
        if not look.is_told:
            return look.attempt
        member = look.found.get(pair.contact_id)
        if member is None:
            return replace(look.attempt, result=Result.TRANSIENT, reason=NOT_STORED)
        return replace(look.attempt, contact=member.contact, body=member.body)

    async def _write(self, method: str, pair: Pair, number: int) -> Attempt:
        path = f"{_members_of(pair.opportunity_id)}/{pair.contact_id}"

        def prove(envelope: Envelope) -> _Proof | None:
            return contact_of(envelope, pair.contact_id)

        finding = await self._ask(method, path, prove, number)
        if finding.proof is None:
            return finding.attempt
        return replace(finding.attempt, contact=finding.proof[0], body=finding.proof[1])

    async def _read(self, opportunity_id: int, params: Mapping[str, str], number: int) -> Finding[Envelope]:
        return await self._ask("GET", _members_of(opportunity_id), _sound, number, params=params)

    async def _ask(
        self,
        method: str,
        path: str,
        prove: Callable[[Envelope], _T | None],
        number: int,
        params: Mapping[str, str] | None = None,
    ) -> Finding[_T]:
        """Send one request with our token, and judge the answer by what ``prove`` finds in it."""
        writes = method != "GET"
        token = await self._session.token()
        spelled = self._spellings.of(path)
        reply = await self._http.call(method, spelled, headers={"Authorization": token}, params=params)
        if isinstance(reply, Failure):
            verdict = classify_failure(reply.kind, sent=writes)
            return Finding(_attempt(number, verdict, reply.seconds), verdict, None, reply.detail, reply.final)
        kind, envelope = read_body(reply.headers.get("Content-Type"), reply.body)
        proof = None if envelope is None else prove(envelope)
        if reply.status == 401 and await self._session.renew(token):  # noqa: PLR2004 - HTTP
            # Not sent again from here: this request, like any other, has to wait for its turn.
            verdict = Verdict(Result.THROTTLED, RENEWED)
            return Finding(_attempt(number, verdict, reply.seconds, 401, 0.0), verdict)
        self._session.accepted(token)
        location = reply.headers.get("Location")
        if location is not None and token.lower() in location.lower():
            location = None  # a host that is our token is not to be named
        verdict = classify(
            Answer(
                http_status=reply.status,
                body=kind,
                hresult=None if envelope is None else envelope.hresult,
                message=None if envelope is None else envelope.error_message,
                retry_after=reply.asks_to_wait,
                location=None if location is None else _host(location),
                proven=proof is not None,
                sent=writes,
            )
        )
        if verdict.stop is not None:
            raise verdict.stop(f"{self._http.origin}: HTTP {reply.status} {verdict.reason}: {verdict.hint}")
        self._spellings.learn(path, refused=verdict.reason == BAD_REQUEST)
        attempt = _attempt(number, verdict, reply.seconds, reply.status, reply.retry_after)
        return Finding(attempt, verdict, proof, f"HTTP {reply.status}")


def _members_of(opportunity_id: int) -> str:
    return f"crm/opportunity/{opportunity_id}/contact"


def _host(location: str) -> str | None:
    try:
        return URL(location).host
    except ValueError:  # whoever redirects us may send anything
        return None


def _sound(envelope: Envelope) -> Envelope | None:
    # In XML an empty list is an empty element, and one of one item looks like an object (contract 2.7).
    is_list = envelope.wire == "xml" or isinstance(envelope.response, list)
    return envelope if envelope.error_message is None and is_list else None


def _attempt(
    number: int,
    verdict: Verdict,
    seconds: float,
    http_status: int | None = None,
    retry_after: float | None = None,
) -> Attempt:
    # A verdict that stops the run was raised before; what is left has a result.
    result = verdict.result or Result.AMBIGUOUS
    return Attempt(number, result, verdict.reason, http_status, retry_after, seconds)
