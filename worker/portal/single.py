"""One operation is one request: the documented call of the API for each link, look and removal."""

from collections.abc import Sequence
from functools import partial
from types import TracebackType

from worker.models import Ask, Exchange
from worker.portal.calls import attempt_of, call_for, read_answer
from worker.portal.client import PortalClient
from worker.portal.first_look import FirstLook, Turn


class Single:
    """Sends each operation alone.

    Args:
        client: the portal.
    """

    size = 1

    def __init__(self, client: PortalClient) -> None:
        self._client = client
        self.first_look = FirstLook()

    def ready(self, asks: Sequence[Ask]) -> "Ready":
        """Wait until these may be sent: there is a token, and no other look that has to go alone."""
        return Ready(self._client, self.first_look.turn(asks))

    async def send(self, asks: Sequence[Ask]) -> Exchange:
        """Send one request (contract 0, 4.1, 4.3, 5.5).

        Raises:
            PortalError: the portal refuses us, is closed, or is no portal.
        """
        (ask,) = asks
        finding = await self._client.send(call_for(ask), partial(read_answer, ask), ask.kind, asks)
        attempt = attempt_of(ask, finding.verdict, finding.read, finding.http_status, finding.seconds)
        self.first_look.learn(asks, (attempt,))
        return Exchange(finding.request(ask.kind, asks), (attempt,))


class Ready:
    """A turn to look, and a token. Use as an async context manager around sending."""

    __slots__ = ("_client", "_turn")

    def __init__(self, client: PortalClient, turn: Turn) -> None:
        self._client = client
        self._turn = turn

    async def __aenter__(self) -> None:
        await self._turn.__aenter__()
        try:
            await self._client.ready()
        except BaseException:
            await self._turn.__aexit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._turn.__aexit__(kind, error, trace)
