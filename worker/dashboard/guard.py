"""Who may look at the live page and who may steer: pure checks of what a browser sends.

The page has no log-in. It listens on this machine alone unless told; a page of somebody else, open in the
same browser, must still learn nothing and do nothing here.
"""

import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_ours(host: str, told: str) -> bool:
    """Whether a request means this server by a name that is ours.

    A name of somebody else that points here (DNS rebinding) would make a foreign page one of ours to the
    browser. An address is no name, so nobody can make it point elsewhere.

    Args:
        host: the header of the request, with or without a port.
        told: the name or address that the user has us listen on.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in {"localhost", told.lower()}:
            return True
        ip_address(name)
    except ValueError:
        return False
    return True


def is_same_origin(origin: str | None, host: str) -> bool:
    """Whether a request comes from the page itself; a browser says where from, a command line need not."""
    try:
        return origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False


def is_token(given: str | None, token: str) -> bool:
    """Whether it is the token; takes as long if it is not."""
    return hmac.compare_digest((given or "").encode(), token.encode())
