"""Turns that many processes share: when the next one is due stands in Redis, and only its clock counts."""

import asyncio

from worker.queues.address import QueueAddress
from worker.queues.redis.connection import Connection
from worker.queues.redis.server_clock import ServerClock

# KEYS: when the next turn is due, in microseconds since the epoch.
# ARGV, all in microseconds: step, how far from now a turn must be at least, pause, and how far it can be at
# most; farther, and the server's clock was set back. Gives when the turn is due, and what time it is.
_BOOK = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local step, least, pause, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local due = tonumber(redis.call('GET', KEYS[1]) or '0')
if due > now + most then due = now end
due = math.max(due, now + least)
if pause > 0 then due = math.max(due, now + pause) end
local after = due + step
local kept = string.format('%.0f', (after - now) / 1000 + 1000)
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', kept)
return {string.format('%.0f', due), string.format('%.0f', now)}
"""

_MOST_SECONDS = 3_600.0
_MOST_STEPS = 1_000


def open_rate(address: QueueAddress) -> "RedisRate":
    """A shared rate, not connected yet."""
    return RedisRate(address)


class RedisRate:
    """A book of turns, see :class:`worker.limits.TurnBook`, for one call at a time.

    Raises as :class:`worker.queues.base.Queue` does. After the server has lost the book, turns begin anew,
    and are paced as ever.

    Attributes:
        shown: its URL without credentials.
    """

    def __init__(self, address: QueueAddress) -> None:
        self._connection = Connection(address)
        self._clock = ServerClock()
        self._key = f"bulklink.rate.{address.name}"
        self.shown = address.shown

    async def open(self) -> None:
        """Connect."""
        await self._connection.open()

    async def book(self, *, step: float, late: float, pause: float) -> float:
        """Take the next turn; gives when it is due, by the clock of the running loop."""
        clock = asyncio.get_running_loop().time
        # From a far server only a turn of the future can come in time.
        least = max(0.0, (self._clock.round_trip - late) / 2)
        most = _MOST_SECONDS + _MOST_STEPS * step
        times = [round(seconds * 1_000_000) for seconds in (step, least, pause, most)]
        sent = clock()
        answer = await self._connection.call(lambda client: client.register_script(_BOOK)([self._key], times))
        due, now = (int(time) / 1_000_000 for time in answer)
        self._clock.observe(sent, clock(), now)
        return self._clock.here(due)

    async def close(self) -> None:
        """Disconnect. Never raises, may be called twice."""
        await self._connection.close()
