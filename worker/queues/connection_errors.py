"""Why a broker cannot be spoken to, in our own words: each library has others, and none names the place."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator

from worker.errors import QueueError, QueueUnavailable
from worker.queues.address import QueueAddress

_NOBODY = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
}
_CUT = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
# asyncio puts the errors of all addresses of a host into the text of one, which has no number then.
_NUMBERS = re.compile(r"\[Errno (\d+)\]")


def connection_error(address: QueueAddress, error: BaseException) -> QueueError | None:
    """What an error says about the way to the broker; None if it is about something else."""
    where = address.endpoint
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            said = one.verify_message.rstrip(".")
            return QueueError(f"{where}: its certificate is not trusted: {said}; SSL_CERT_FILE names a CA")
        if isinstance(one, ssl.SSLError) and one.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            return QueueError(f"{where} answers, but not with TLS")
        if isinstance(one, socket.gaierror):
            return QueueUnavailable(f"no broker at {where} (the name of the host is not known)")
        if isinstance(one, _CUT):
            return QueueUnavailable(f"{address.shown}: the connection was lost")
        if isinstance(one, OSError) and (nobody := _nobody(one)):
            return QueueUnavailable(f"no broker at {where} ({nobody})")
    return None


def _nobody(error: OSError) -> str:
    numbers = [error.errno] if error.errno else map(int, _NUMBERS.findall(str(error)))
    return next((_NOBODY[number] for number in numbers if number in _NOBODY), "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
