"""Addresses of proxies, and which hosts are this machine."""

import pytest
from pydantic import SecretStr

from worker.settings import load_settings
from worker.settings.addresses import is_loopback, proxy_url


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
