"""Where a queue is, as a URL says it; credentials are kept apart from anything that is shown."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from worker.errors import UsageError

_DEFAULT_GROUP = "bulklink"
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue URL, taken apart.

    Attributes:
        broker: ``redis``, ``amqp`` or ``nats``.
        server: URL of the server alone, as its client library takes it; may hold credentials.
        name: of the stream (Redis, NATS) or queue (RabbitMQ).
        group: consumer group (Redis) or durable consumer (NATS); all workers of a queue share it.
        shown: the URL without credentials, for people.
    """

    broker: str
    server: str = field(repr=False)
    name: str
    group: str
    shown: str

    @property
    def dead_name(self) -> str:
        """Name of the stream or queue of dead letters."""
        return f"{self.name}.dead"


_BROKERS = {
    # scheme: broker, parameter that names the queue, parameter that names the group
    "redis": ("redis", "stream", "group"),
    "rediss": ("redis", "stream", "group"),
    "amqp": ("amqp", "queue", None),
    "amqps": ("amqp", "queue", None),
    "nats": ("nats", "stream", "durable"),
    "tls": ("nats", "stream", "durable"),
}


def parse_address(url: str) -> QueueAddress:
    """Take a queue URL apart.

    Raises:
        UsageError: it names no queue that we can speak to; the message never holds credentials.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in _BROKERS:
        raise UsageError(
            "the queue URL is not like redis://HOST:6379/0?stream=NAME, amqp://HOST/?queue=NAME"
            " or nats://HOST:4222?stream=NAME"
        )
    broker, name_key, group_key = _BROKERS[parts.scheme]
    try:
        host, port = parts.hostname or "localhost", parts.port
    except ValueError as error:
        raise UsageError(f"the queue URL has a port that is no number: {parts.scheme}://...") from error
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    given = parse_qsl(parts.query, keep_blank_values=True)
    query = dict(given)
    known = {name_key, group_key} - {None}
    if unknown := [name for name, _ in given if name not in known]:
        raise UsageError(
            f"{parts.scheme}://{netloc}: no such parameter: {unknown[0]};"
            f" it takes {' and '.join(sorted(str(name) for name in known))}"
        )
    name = query.get(name_key, "")
    group = query.get(group_key, _DEFAULT_GROUP) if group_key else _DEFAULT_GROUP
    if not name:
        raise UsageError(f"{parts.scheme}://{netloc}: which queue? add ?{name_key}=NAME")
    for word in (name, group):
        # What NATS and file names can bear is enough for all of them.
        if not word or len(word) > _LONGEST_NAME or not all(c.isalnum() or c in "-_.:" for c in word):
            raise UsageError(f"{parts.scheme}://{netloc}: {word!r} is no name: letters, digits and - _ . :")
    shown_query = urlencode({name_key: name} | ({group_key: group} if group_key in query else {}))
    return QueueAddress(
        broker=broker,
        server=parts._replace(query="", fragment="").geturl(),
        name=name,
        group=group,
        shown=f"{parts.scheme}://{netloc}{parts.path}?{shown_query}",
    )
