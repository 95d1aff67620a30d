"""Addresses as users write them: of a portal, and of a proxy on the way to it. Pure."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_OF_AN_ADDRESS = frozenset("0123456789-._~:/[]!$&'()*+,;=%")
"""What an address can have in it besides letters."""

_LONGEST_HOST = 254
"""Characters that the name service takes, a final dot included."""


def portal_url(value: str) -> str:
    """The address of a portal, without ``/api/2.0``.

    Raises:
        ValueError: it is none.
    """
    # Before anything is shown: a password with a slash in it makes the rest look like a path.
    if "@" in value:
        raise ValueError("credentials do not belong in the address; see BULKLINK_TOKEN")
    if "?" in value or "#" in value:
        raise ValueError("an address has no '?' or '#' part")
    value = value.strip()  # a file of variables may have Windows line ends
    strange = next((c for c in value if c not in _OF_AN_ADDRESS and not c.isalpha()), None)
    if strange is not None:
        raise ValueError(f"{value!r}: an address has no {strange!r} in it")
    try:
        url = urlsplit(value)
        named = url.scheme in {"http", "https"} and _is_host(url.hostname or "") and url.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        named = False
    if not named:
        raise ValueError(f"{value!r} is not an address like https://portal.example.com")
    if not url.path.isascii():
        raise ValueError(f"{value!r}: write the part after the host as a browser copies it, with % signs")
    path = url.path.rstrip("/").removesuffix("/api/2.0")
    return f"{url.scheme}://{url.netloc}{path}"


def _is_host(name: str) -> bool:
    """Whether a resolver would take the name: no label is empty, or longer than 63 bytes as it is sent."""
    if ":" in name:
        return True  # urlsplit has looked at what stands in brackets
    try:
        sent = name.encode("idna").decode()
    except UnicodeError:
        return False
    return (
        len(sent) <= _LONGEST_HOST
        and re.fullmatch(r"[a-z0-9_.-]*[a-z0-9_-]\.?", sent, re.IGNORECASE) is not None
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_url(text: str) -> str:
    """The URL of a proxy, with a scheme.

    Raises:
        ValueError: it is none that can be used; the text is not shown, for it may hold a password.
    """
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        is_one = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        is_one = False
    if not is_one or url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError(
            "not the address of an http:// or https:// proxy, like http://proxy.example.com:3128"
        )
    return url.geturl()


def without_password(url: str) -> str:
    """The same URL, without the credentials in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
