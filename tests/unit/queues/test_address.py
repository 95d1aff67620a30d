"""A queue URL names one queue, or is refused in a sentence that may be shown to anybody."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import ConnectionPool

from worker.errors import UsageError
from worker.queues import QueueAddress, parse_address

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "broker", "server", "name", "group"),
    [
        ("redis://h:6379/0?stream=links", "redis", "redis://h:6379/0", "links", "bulklink"),
        ("redis://h?stream=links&group=g", "redis", "redis://h", "links", "g"),
        ("rediss://h/12?stream=a.b:c-d_e", "redis", "rediss://h/12", "a.b:c-d_e", "bulklink"),
        ("redis://u:p@h:1/0?stream=x", "redis", "redis://u:p@h:1/0", "x", "bulklink"),
        ("redis://:p@[::1]:1/0?stream=x", "redis", "redis://:p@[::1]:1/0", "x", "bulklink"),
        ("amqp://u:p@h:5672/vhost?queue=links", "amqp", "amqp://u:p@h:5672/vhost", "links", "bulklink"),
        ("amqps://h/%2F?queue=links", "amqp", "amqps://h/%2F", "links", "bulklink"),
        ("amqp://h?queue=links", "amqp", "amqp://h", "links", "bulklink"),
        ("nats://h:4222?stream=links&durable=d", "nats", "nats://h:4222", "links", "d"),
        ("tls://h:4222/?stream=links", "nats", "tls://h:4222/", "links", "bulklink"),
        ("  REDIS://h/0?stream=x\n", "redis", "redis://h/0", "x", "bulklink"),
        ("redis://h/0?stream={links}", "redis", "redis://h/0", "{links}", "bulklink"),
        ("redis://h/0?stream=a.{li-nks}:b", "redis", "redis://h/0", "a.{li-nks}:b", "bulklink"),
        ("redis://h/0?group=g&stream=x", "redis", "redis://h/0", "x", "g"),
    ],
)
def test_a_url_names_a_queue(url: str, broker: str, server: str, name: str, group: str) -> None:
    address = parse_address(url)
    assert (address.broker, address.server, address.name, address.group) == (broker, server, name, group)
    assert address.dead_name == f"{name}.dead"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:s3cret@h:6379/0?stream=x", "redis://h:6379/0?stream=x"),
        ("redis://:s3cret@h?group=g&stream=x", "redis://h?stream=x&group=g"),
        ("redis://s3cret@[2001:db8::1]:7/3?stream=x", "redis://[2001:db8::1]:7/3?stream=x"),
        ("amqp://s3cret:s3cret@h/vhost?queue=x", "amqp://h/vhost?queue=x"),
        ("nats://s3cret@h?stream=x&durable=d", "nats://h?stream=x&durable=d"),
        ("nats:///?stream=x", "nats://localhost/?stream=x"),
        ("redis://h/0?stream={links}", "redis://h/0?stream={links}"),
    ],
)
def test_what_is_shown_names_the_queue_and_no_credentials(url: str, shown: str) -> None:
    assert parse_address(url).shown == shown


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "not like redis://"),
        ("links", "not like redis://"),
        ("redis:h?stream=x", "not like redis://"),
        ("kafka://u:s3cret@h/0?stream=x", "not like redis://"),
        ("https://u:s3cret@h/0?stream=x", "not like redis://"),
        ("unix:///run/redis.sock?stream=x", "not like redis://"),
        ("redis://u:s3cret@[::1/0?stream=x", "no host"),
        ("redis://u:s3cret@[h]/0?stream=x", "no host"),
        ("redis://us\u2100er:s3cret@h/0?stream=x", "no host"),
        ("redis://h:many/0?stream=x", "port that is no number"),
        ("redis://u:s3cret@h:65536/0?stream=x", "port that is no number"),
        ("redis://u:/s3cret@h/0?stream=x", "write / as %2F"),
        ("redis://u:1/s3cret@h/0?stream=x", "write / as %2F"),
        ("redis://u:1?s3cret@h/0?stream=x", "? as %3F"),
        ("redis://u:1#s3cret@h/0?stream=x", "# as %23"),
        ("redis://u:s3cret/@h/0?stream=x", "write / as %2F"),
        ("redis://u:s3cret?@h/0?stream=x", "? as %3F"),
        ("redis://u:s3cret#@h/0?stream=x", "# as %23"),
        ("redis://h/0?stream=x#y", "# as %23"),
        ("redis://u:s3cret@h/links?stream=x", "redis://h: the path is the number of a database"),
        ("redis://h/0/1?stream=x", "the path is the number of a database"),
        ("nats://u:s3cret@h/links?stream=x", "nats://h: a NATS URL has no path"),
        ("redis://u:s3cret@h?stream=x&db=1", "redis://h: no such parameter: 'db'; it takes group and stream"),
        ("amqp://h?stream=x", "no such parameter: 'stream'; it takes queue"),
        ("amqp://h?queue=x&group=g", "no such parameter: 'group'"),
        ("nats://h?stream=x&group=g", "no such parameter: 'group'; it takes durable and stream"),
        ("redis://h/0?stream=x&stream=y", "given twice"),
        ("redis://u:s3cret@h:1/0", "redis://h:1: which queue? add ?stream=NAME"),
        ("amqp://u:s3cret@h/v", "amqp://h: which queue? add ?queue=NAME"),
        ("nats://h?stream=", "which queue?"),
        ("redis://h/0?stream=a%20b", "'a b' is no name"),
        ("redis://h/0?stream=a/b", "'a/b' is no name"),
        ("redis://h/0?stream=a*", "is no name"),
        ("redis://h/0?stream=x&group=", "'' is no name"),
        ("redis://h/0?stream=x&group=a%0Ab", "is no name"),
        (f"redis://h/0?stream={'x' * 201}", "is no name"),
    ],
)
def test_any_other_url_is_refused_in_one_line_without_credentials(url: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(url)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")


def test_the_longest_name_is_a_name() -> None:
    assert parse_address(f"redis://h?stream={'x' * 200}").name == "x" * 200


def test_neither_an_address_nor_its_repr_shows_a_password() -> None:
    address = parse_address("redis://user:s3cret@h/0?stream=x")
    assert SECRET in address.server
    for text in (repr(address), str(address), f"{address}", address.shown):
        assert SECRET not in text


def test_a_password_may_hold_any_sign_if_it_is_percent_encoded() -> None:
    address = parse_address("redis://user:a%2Fb%3Fc%23d%40e%3Af@h:7/2?stream=x")
    pool = ConnectionPool.from_url(address.server)
    assert pool.connection_kwargs["password"] == "a/b?c#d@e:f"
    assert (pool.connection_kwargs["host"], pool.connection_kwargs["db"]) == ("h", 2)
    assert "%2F" not in address.shown


@given(
    password=st.text(min_size=4), rest=st.sampled_from(["h/0?stream=x", "h", "[::1", "h:x", "", "h/a?b=c"])
)
def test_whatever_the_password_it_is_never_shown(password: str, rest: str) -> None:
    marked = f"s3cret{password}s3cret"
    try:
        shown = repr(parse_address(f"redis://user:{marked}@{rest}"))
    except UsageError as error:
        shown = str(error)
    assert SECRET not in shown


def test_addresses_are_values() -> None:
    assert parse_address("redis://h?stream=x") == QueueAddress(
        broker="redis", server="redis://h", name="x", group="bulklink", shown="redis://h?stream=x"
    )
