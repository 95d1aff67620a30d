"""Put a reply on the socket, or fail to, as the reply says. It does not choose what to answer."""

import asyncio
import socket
import struct
from uuid import uuid4

from aiohttp import web

from worker.simulator import replies
from worker.simulator.bodies import zipped
from worker.simulator.replies import Reply

_LINGER_NONE = struct.pack("ii", 1, 0)
_LOOK = 0.05


async def send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send a reply and give the server the response it wants back."""
    if reply.delay:
        await asyncio.sleep(reply.delay)
    match reply.ending:
        case "reset":
            reset(request)
            return web.Response()
        case "hang":
            # Until the client gives up; its leaving is only seen on the transport.
            while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(_LOOK)
            return web.Response()
        case "half":
            return await _half(request, reply)
    body, headers = _written(request, reply)
    return web.Response(status=reply.status, reason=reply.reason, body=body, headers=headers)


def reset(request: web.BaseRequest) -> None:
    """Drop the connection with a TCP reset, as a dying proxy does."""
    if request.transport is None:
        return
    sock: socket.socket | None = request.transport.get_extra_info("socket")
    if sock is not None:
        # Lingering for no time is what makes the kernel send a reset instead of a polite end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    request.transport.abort()


async def _half(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    body, headers = _written(request, reply)
    response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _written(request: web.BaseRequest, reply: Reply) -> tuple[bytes, list[tuple[str, str]]]:
    headers = [("Content-Type", reply.content_type), *reply.headers]
    if reply.origin == "elsewhere":
        return reply.body, headers
    headers.append(("X-AspNet-Version", replies.ASPNET))
    if reply.origin == "site":
        return reply.body, [*headers, ("Cache-Control", replies.SITE_CACHING)]
    headers += [("Cache-Control", replies.API_CACHING), ("ETag", uuid4().hex)]
    # Only successes, and only for a token without a space before it (contract 8).
    accepted = request.headers.get("Accept-Encoding", "").split(",")
    if reply.status >= 300 or "gzip" not in accepted:  # noqa: PLR2004 - no success
        return reply.body, headers
    return zipped(reply.body), [*headers, ("Content-Encoding", "gzip")]
