"""A portal to link and to look at, opened once for as many pairs as there are."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

from worker.api.lookup import Lookup
from worker.api.outcome import ItemT
from worker.api.told import Members, Verified
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.site import Site


PAIRS, OPPORTUNITIES = 1000, 100
"""Taken at a time, and asked about together."""


class PortalOptions(TypedDict, total=False):
    """How to get to a portal, and how fast it may be gone to.

    The names, bounds and defaults are those of the options of the command, see README; times are seconds or
    texts such as ``"30s"``. ``tell`` is called with what a person may want to know, in a line of words, and
    with an empty text when that is over.
    """

    token: str
    token_file: str | Path
    username: str
    password: str
    password_file: str | Path
    rate: str
    link_rate: str
    timezone: str
    concurrency: int | Literal["auto"]
    transport: Literal["auto", "batch", "single"]
    batch_size: int | Literal["auto"]
    wire: Literal["json", "xml"]
    max_attempts: int
    timeout: float | str
    grace: float | str
    give_up_after: float | str
    allow_http: bool
    ca_file: str | Path
    client_cert: str | Path
    client_key: str | Path
    proxy: str
    tell: Callable[[str], None]


class Portal:
    """A portal. Use as an async context manager; several runs may go on at it, and share its limits.

    The rate is kept to by this object alone: another one, or a command beside it, has a rate of its own.

    Args:
        url: its address, such as ``https://portal.example.com``.
        options: see :class:`PortalOptions`.

    Raises:
        UsageError: an option is wrong, on entering.
        PortalError: the portal refuses us (:class:`worker.errors.PortalRefused`), is closed, is none, or does
            not answer, on entering.
    """

    def __init__(self, url: str, **options: Unpack[PortalOptions]) -> None:
        self._url = url
        self._given: Mapping[str, Any] = dict(options)
        self._stack: AsyncExitStack | None = None
        self._site: Site | None = None

    def settings(self, **more: object) -> "Settings":
        """All options, with ``more`` that are about a run.

        Raises:
            UsageError: one of them is wrong, or there are no credentials.
        """
        from worker.settings import settings_of  # noqa: PLC0415 - takes a tenth of a second

        given = {name: value for name, value in self._given.items() if name != "tell"}
        if unknown := next((name for name in given if name not in PortalOptions.__annotations__), None):
            raise UsageError(f"{unknown}: no such option of a portal")
        if not any(given.get(name) for name in ("token", "token_file", "username")):
            raise UsageError("no credentials: give token, or username and password")
        return settings_of({"portal": self._url, **given, **more})

    @property
    def site(self) -> "Site":
        """The portal, open.

        Raises:
            UsageError: it is not.
        """
        if self._site is None:
            raise UsageError(f"{self._url}: open the portal first: async with Portal(...) as portal")
        return self._site

    @property
    def is_open(self) -> bool:
        """Whether it was entered."""
        return self._site is not None

    def verify(
        self, pairs: Iterable[ItemT] | AsyncIterable[ItemT], *, buffer: int = PAIRS
    ) -> Lookup[ItemT, Verified[ItemT]]:
        """Look whether links are there, and iterate over what the portal says of each; changes nothing.

        ::

            async for one in portal.verify(pairs):
                print(one.item, one.presence)

        What is no pair, and a pair of which the portal does not tell, is an answer, too. An error ends the
        iteration: the portal refuses us, is closed or gone (:class:`~worker.errors.PortalError`,
        :class:`~worker.errors.OutageError`), or the iterable raised one (:class:`~worker.errors.InputError`,
        whose cause is that), after the answers about what came before.

        Args:
            pairs: as of :func:`~worker.api.run.link_pairs`; answers come in their order.
            buffer: pairs that are taken at a time, and looked for together: of an opportunity up to a hundred
                in one request.

        Raises:
            UsageError: what is given makes no sense; or the portal is not open, on iterating.
        """

        async def look(items: Sequence[ItemT]) -> Sequence[Verified[ItemT]]:
            from worker.api.reading import verified  # noqa: PLC0415 - brings in aiohttp

            return await verified(self.site, items)

        return Lookup(pairs, look, buffer)

    def members(
        self,
        opportunities: Iterable[int | str] | AsyncIterable[int | str],
        *,
        buffer: int = OPPORTUNITIES,
    ) -> Lookup[int | str, Members]:
        """Read which contacts opportunities have, and iterate over them; changes nothing.

        ::

            async for one in portal.members([1234, 1235]):
                print(one.opportunity_id, one.contact_ids)

        An opportunity that is missing, and what is no id, is an answer, too, which says why. For errors see
        :meth:`verify`.

        Args:
            opportunities: their ids; answers come in their order.
            buffer: opportunities that are taken at a time, and read together.

        Raises:
            UsageError: what is given makes no sense; or the portal is not open, on iterating.
        """

        async def look(items: Sequence[int | str]) -> Sequence[Members]:
            from worker.api.reading import members  # noqa: PLC0415 - brings in aiohttp

            return await members(self.site, items)

        return Lookup(opportunities, look, buffer)

    async def __aenter__(self) -> Self:
        from worker.run.access import open_site  # noqa: PLC0415 - brings in aiohttp

        if self.is_open:
            raise UsageError(f"{self._url}: the portal is open already")
        tell = self._given.get("tell", lambda _: None)
        async with AsyncExitStack() as stack:
            self._site = await open_site(stack, self.settings(), None, tell, (), by_itself=True)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack, self._site = self._stack, None, None
        if stack is not None:
            await stack.aclose()
