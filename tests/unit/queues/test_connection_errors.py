"""What keeps us from a broker is said in our words, whatever library it was that failed."""

import errno
import socket
import ssl

import pytest

from worker.errors import QueueError, QueueUnavailable
from worker.queues import parse_address
from worker.queues.connection_errors import connection_error

SHOWN = "redis://h:6379/0?stream=x"


def os_error(number: int) -> OSError:
    return OSError(number, f"Connect call failed ('127.0.0.1', {number})")


def wrapped(error: BaseException) -> Exception:
    """As a library raises it again."""
    outer = RuntimeError("Error UNKNOWN while writing to socket")
    outer.__cause__ = error
    return outer


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")
    error.verify_message = "self-signed certificate."
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    error.reason = reason
    return error


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped, lambda error: wrapped(wrapped(error))])
@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ConnectionRefusedError(111, "x"), QueueUnavailable, "no broker at h:6379 (connection refused)"),
        (os_error(errno.EHOSTUNREACH), QueueUnavailable, "no broker at h:6379 (no route to it)"),
        (os_error(errno.ENETUNREACH), QueueUnavailable, "no broker at h:6379 (no route to it)"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] ..."),
            QueueUnavailable,
            "no broker at h:6379 (connection refused)",
        ),
        (
            socket.gaierror(-2, "Name or service not known"),
            QueueUnavailable,
            "no broker at h:6379 (the name of the host is not known)",
        ),
        (ConnectionResetError(104, "x"), QueueUnavailable, f"{SHOWN}: the connection was lost"),
        (ConnectionResetError("Connection lost"), QueueUnavailable, f"{SHOWN}: the connection was lost"),
        (BrokenPipeError(32, "x"), QueueUnavailable, f"{SHOWN}: the connection was lost"),
        (
            certificate_error(),
            QueueError,
            "h:6379: its certificate is not trusted: self-signed certificate; SSL_CERT_FILE names a CA",
        ),
        (tls_error("WRONG_VERSION_NUMBER"), QueueError, "h:6379 answers, but not with TLS"),
        (tls_error("RECORD_LAYER_FAILURE"), QueueError, "h:6379 answers, but not with TLS"),
    ],
)
def test_each_way_to_fail_has_its_words(
    wrap: "object", error: OSError, kind: type[QueueError], said: str
) -> None:
    assert callable(wrap)
    found = connection_error(parse_address(SHOWN), wrap(error))
    assert (type(found), str(found)) == (kind, said)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("x"), OSError("x"), os_error(errno.EACCES), TimeoutError(), tls_error("NO_CIPHERS")],
)
def test_of_anything_else_it_says_nothing(error: Exception) -> None:
    assert connection_error(parse_address(SHOWN), error) is None


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://u:p@h?stream=x", "h:6379"),
        ("rediss://h:7/0?stream=x", "h:7"),
        ("amqp://[::1]/?queue=x", "[::1]:5672"),
        ("amqps://h/?queue=x", "h:5671"),
        ("nats:///?stream=x", "localhost:4222"),
        ("tls://h?stream=x", "h:4222"),
    ],
)
def test_the_place_has_a_port_even_if_the_url_has_none(url: str, endpoint: str) -> None:
    assert parse_address(url).endpoint == endpoint
