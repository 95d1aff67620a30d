"""Addresses of portals and proxies, and which hosts are this machine."""

import pytest
from pydantic import SecretStr

from tests.unit.settings.refusing import refused
from worker.settings import load_settings
from worker.settings.addresses import is_loopback, proxy_url


@pytest.mark.parametrize(
    "address",
    [
        "https://portal..example.com",
        "https://.example.com",
        "https://.",
        f"https://{'a' * 70}.example",
        f"https://{'ab.' * 90}example",
        "https://portal.example:99999",
        "https://[::1",
    ],
)
def test_a_host_that_no_resolver_would_take_is_no_address(address: str) -> None:
    why = f"{address!r} is not an address like https://portal.example.com"
    assert refused({"portal": address}) == f"--portal: {why}"


@pytest.mark.parametrize(
    ("address", "strange"),
    [
        ("https://portal.example/my office", " "),
        ("https://por tal.example", " "),
        ("https://por\ttal.example", "\t"),
        ("https://portal.example/\x1b[2J", "\x1b"),
        ("https://portal.example\\office", "\\"),
    ],
)
def test_what_cannot_be_in_an_address_is_named(address: str, strange: str) -> None:
    """urlsplit would drop some of them, and another host than the one typed would get the token."""
    assert refused({"portal": address}) == f"--portal: {address!r}: an address has no {strange!r} in it"


def test_a_path_is_to_be_given_as_it_is_sent() -> None:
    assert "with % signs" in refused({"portal": "https://portal.example/büro"})


@pytest.mark.parametrize(
    ("given_as", "taken_as"),
    [
        ("https://portal.example", "https://portal.example"),
        ("https://portal.example/", "https://portal.example"),
        ("https://portal.example/api/2.0", "https://portal.example"),
        ("https://portal.example/api/2.0/", "https://portal.example"),
        ("https://portal.example:8443/office/", "https://portal.example:8443/office"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:80", "http://[::1]:80"),
        (" https://portal.example\r\n", "https://portal.example"),
        ("https://portal.example./", "https://portal.example."),
        ("https://büro.example", "https://büro.example"),
        ("https://portal.example/b%C3%BCro", "https://portal.example/b%C3%BCro"),
    ],
)
def test_an_address_is_taken_without_the_path_of_the_api(given_as: str, taken_as: str) -> None:
    assert load_settings({"portal": given_as}).portal == taken_as


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("proxy.example.com:3128", "http://proxy.example.com:3128"),
        ("http://proxy.example.com", "http://proxy.example.com"),
        ("https://user:pass@proxy.example.com:8443/", "https://user:pass@proxy.example.com:8443/"),
        ("[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_a_proxy_is_named_with_or_without_a_scheme(text: str, url: str) -> None:
    assert proxy_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "http://", "socks5://proxy:1080", "proxy:0", "proxy:port", "http://[half", "http://user:secret@/x"],
)
def test_what_is_no_http_proxy_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="not the address of") as caught:
        proxy_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "128.0.0.1", "portal", "", "::2"])
def test_no_other_host_is_taken_for_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("proxy", "kept"),
    [
        ("env", "env"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://user:secret@proxy:3128", "http://proxy:3128"),
        (None, None),
    ],
)
def test_a_proxy_is_kept_for_a_resume_without_its_password(proxy: str | None, kept: str | None) -> None:
    settings = load_settings({"portal": "https://portal.example.com", "proxy": proxy})
    assert settings.to_save()["proxy"] == kept
    assert proxy is None or settings.proxy == SecretStr(proxy)
    again = load_settings({}, settings.to_save())
    assert (again.proxy and again.proxy.get_secret_value()) == kept
