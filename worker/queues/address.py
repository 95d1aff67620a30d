"""Where a queue is, as a URL says it; credentials are kept apart from anything that is shown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

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
    def endpoint(self) -> str:
        """``HOST:PORT`` of the server, for people."""
        parts = urlsplit(self.server)
        host = parts.hostname or "localhost"
        return f"{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS[parts.scheme]}"

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
_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671, "nats": 4222, "tls": 4222}
# A path that the client library would not understand, and would pass over in silence.
_PATHS = {
    "redis": (re.compile(r"/?|/\d+"), "the path is the number of a database, such as /0"),
    "amqp": (re.compile(r".*"), ""),
    "nats": (re.compile(r"/?"), "a NATS URL has no path"),
}


def parse_address(url: str) -> QueueAddress:
    """Take a queue URL apart.

    Raises:
        UsageError: it names no queue that we can speak to; the message never holds credentials.
    """
    scheme = _scheme_of(url)
    if scheme not in _BROKERS:
        raise UsageError(
            "the queue URL is not like redis://HOST:6379/0?stream=NAME, amqp://HOST/?queue=NAME"
            " or nats://HOST:4222?stream=NAME"
        )
    broker, name_key, group_key = _BROKERS[scheme]
    where, parts, query = _parts_of(url, broker, [key for key in (name_key, group_key) if key])
    name = query.get(name_key, "")
    if not name:
        raise UsageError(f"{where}: which queue? add ?{name_key}=NAME")
    group = query.get(group_key, _DEFAULT_GROUP) if group_key else _DEFAULT_GROUP
    _check_names(where, _without_tag(broker, name), group)
    shown = {name_key: name} | ({group_key: group} if group_key in query else {})
    return QueueAddress(
        broker=broker,
        server=parts._replace(query="").geturl(),
        name=name,
        group=group,
        shown=f"{where}{parts.path}?{urlencode(shown, safe='{}')}",
    )


def parse_rate_address(url: str, name: str) -> QueueAddress:
    """Take the URL of a rate that several processes share apart.

    Args:
        url: of a Redis.
        name: of the rate, unless the URL says ``?rate=NAME``.

    Raises:
        UsageError: it is not that; the message never holds credentials.
    """
    if _scheme_of(url) not in {"redis", "rediss"}:
        raise UsageError("the URL of the shared rate is not like redis://HOST:6379/0")
    where, parts, query = _parts_of(url, "redis", ["rate"])
    _check_names(where, query.get("rate", name))
    return QueueAddress(
        broker="redis",
        server=parts._replace(query="").geturl(),
        name=query.get("rate", name),
        group=_DEFAULT_GROUP,
        shown=f"{where}{parts.path}" + (f"?{urlencode(query)}" if query else ""),
    )


def _scheme_of(url: str) -> str:
    return url.strip().partition("://")[0].lower()


def _parts_of(url: str, broker: str, known: Sequence[str]) -> tuple[str, SplitResult, dict[str, str]]:
    """Where the server is, for people; the parts of the URL; its parameters, which must be known ones."""
    parts, where = _server_of(url.strip(), _scheme_of(url))
    path, rule = _PATHS[broker]
    if not path.fullmatch(parts.path):
        raise UsageError(f"{where}: {rule}")
    given = parse_qsl(parts.query, keep_blank_values=True)
    if unknown := [name for name, _ in given if name not in known]:
        raise UsageError(
            f"{where}: no such parameter: {unknown[0]!r}; it takes {' and '.join(sorted(known))}"
        )
    query = dict(given)
    if len(query) < len(given):
        raise UsageError(f"{where}: a parameter is given twice")
    return where, parts, query


def _check_names(where: str, *names: str) -> None:
    for word in names:
        # What NATS and file names can bear is enough for all of them.
        if not word or len(word) > _LONGEST_NAME or not all(c.isalnum() or c in "-_.:" for c in word):
            raise UsageError(f"{where}: {word!r} is no name: letters, digits and - _ . :")


def _without_tag(broker: str, name: str) -> str:
    """The name of a stream without the braces of its hash tag, if it may have one and is right otherwise."""
    tagged = re.fullmatch(r"([^{}]*)\{([^{}]+)\}([^{}]*)", name) if broker == "redis" else None
    return name if tagged is None else "".join(tagged.groups())


def _server_of(url: str, scheme: str) -> tuple[SplitResult, str]:
    """The parts of a URL, and where its server is, without credentials."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port
    except ValueError:
        # Not chained: what the library has to say repeats parts of the URL.
        raise UsageError(
            f"{scheme}://...: this names no host, or a port that is no number;"
            " in a password, write / as %2F, ? as %3F and # as %23"
        ) from None
    if "#" in url or "@" in parts.path + parts.query:
        # The rest of a password that was cut in two would be taken for a path or a parameter, and be shown.
        raise UsageError(f"{scheme}://...: write / as %2F, ? as %3F, # as %23 and @ as %40 in a queue URL")
    netloc = f"[{host}]" if ":" in host else host
    return parts, f"{scheme}://{netloc}" + ("" if port is None else f":{port}")
