"""Authorities of one's own, certificates for oneself, HTTP proxies: a run by each way, and what can fail."""

import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.ways import Aside, Certificate, Front, HttpProxy, authority, loop_aside, signed, strict
from worker.portal.http import Failure, Http, Reply
from worker.portal.tls import tls_context

if TYPE_CHECKING:
    from tests.conftest import CommandLine, SimulatedPortal

    Simulate = Callable[[str], SimulatedPortal]

S = TypeVar("S")
Open = Callable[[AbstractAsyncContextManager[S]], S]

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl to make certificates with"
)

NAME = "portal.invalid"
"""No resolver knows it: who gets there went through a proxy."""

LINK = "crm/opportunity/1/contact/2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def own(folder: Path) -> Certificate:
    return authority(folder)


@pytest.fixture(scope="module")
def server(folder: Path, own: Certificate) -> Certificate:
    return signed(folder, own, "server", "DNS:localhost", "IP:127.0.0.1", f"DNS:{NAME}")


@pytest.fixture(scope="module")
def client(folder: Path, own: Certificate) -> Certificate:
    return signed(folder, own, "client")


@pytest.fixture
def opened() -> "Iterator[Open[Any]]":
    """Open servers aside, for as long as the test lasts."""
    with loop_aside() as aside, ExitStack() as stack:

        def open_aside(server: AbstractAsyncContextManager[S]) -> S:
            one = aside(server.__aenter__())
            stack.callback(_close, aside, server)
            return one

        yield open_aside


def _close(aside: Aside, server: AbstractAsyncContextManager[Any]) -> None:
    aside(_closed(server))


async def _closed(server: AbstractAsyncContextManager[Any]) -> None:
    await server.__aexit__(None, None, None)


@pytest.fixture
def portal(simulate: "Simulate", bulklink: "CommandLine") -> "SimulatedPortal":
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n1,2\n")
    return simulate("calm")


def port_of(portal: "SimulatedPortal") -> int:
    port = urlsplit(portal.url).port
    assert port is not None
    return port


def run(url: str, *words: str) -> tuple[str, ...]:
    return ("run", "pairs.csv", "--portal", url, "--run-id", "one", *words)


def test_a_certificate_of_an_authority_of_ones_own_is_taken_when_it_is_named(
    bulklink: "CommandLine",
    portal: "SimulatedPortal",
    opened: "Open[Front]",
    own: Certificate,
    server: Certificate,
) -> None:
    front = opened(Front(port_of(portal), server))
    url = f"https://localhost:{front.port}"

    refused = bulklink(*run(url, "-q"))
    assert (refused.returncode, refused.stderr.count("\n")) == (6, 1)
    assert "--ca-file, or SSL_CERT_FILE" in refused.stderr
    assert portal.books("")["requests"] == 0

    assert bulklink(*run(url, "--ca-file", str(own.pem), "-q")).returncode == 0
    # What is said about the run later needs the same way, and is not told again.
    assert bulklink("verify", "one", "-q").returncode == 0
    assert portal.links() == {(1, 1), (1, 2)}


def test_the_usual_variable_names_the_authority_too(
    bulklink: "CommandLine",
    portal: "SimulatedPortal",
    opened: "Open[Front]",
    own: Certificate,
    server: Certificate,
) -> None:
    front = opened(Front(port_of(portal), server))

    done = bulklink(*run(f"https://localhost:{front.port}", "-q"), SSL_CERT_FILE=str(own.pem))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("apart", [False, True])
def test_a_portal_that_wants_a_certificate_of_us_gets_it(
    bulklink: "CommandLine",
    portal: "SimulatedPortal",
    opened: "Open[Front]",
    own: Certificate,
    server: Certificate,
    client: Certificate,
    apart: bool,
) -> None:
    front = opened(Front(port_of(portal), server, wants=own))
    url, trust = f"https://localhost:{front.port}", ("--ca-file", str(own.pem), "-q")
    files = (str(client.pem), "--client-key", str(client.key)) if apart else (str(client.with_key),)
    assert bulklink(*run(url, *trust, "--client-cert", *files)).returncode == 0
    assert bulklink("verify", "one", "-q").returncode == 0
    assert portal.links() == {(1, 1), (1, 2)}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_portal_that_wants_a_certificate_we_have_not_is_exit_6_and_says_what_is_missing(
    bulklink: "CommandLine", own: Certificate, server: Certificate, version: ssl.TLSVersion
) -> None:
    (bulklink.folder / "pairs.csv").write_text("opportunity_id,contact_id\n1,1\n")
    with strict(server, own, version) as port:
        done = bulklink(*run(f"https://localhost:{port}", "--ca-file", str(own.pem), "-q"))

    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert "see --client-cert" in done.stderr


def test_a_run_goes_through_the_proxy_that_is_named_and_shows_it_no_token(
    bulklink: "CommandLine",
    portal: "SimulatedPortal",
    opened: "Open[Any]",
    own: Certificate,
    server: Certificate,
) -> None:
    front = opened(Front(port_of(portal), server))
    proxy = opened(HttpProxy(front.port))
    words = run(f"https://{NAME}", "--ca-file", str(own.pem), "-q", "--proxy", f"127.0.0.1:{proxy.port}")

    assert bulklink(*words).returncode == 0
    assert portal.links() == {(1, 1), (1, 2)}
    assert {first for first, _ in proxy.heard} == {f"CONNECT {NAME}:443 HTTP/1.1"}
    assert bulklink("verify", "one", "-q").returncode == 0


def test_the_proxy_of_the_environment_is_used_when_asked_for_and_its_exceptions_hold(
    bulklink: "CommandLine",
    portal: "SimulatedPortal",
    opened: "Open[Any]",
    own: Certificate,
    server: Certificate,
) -> None:
    front = opened(Front(port_of(portal), server))
    proxy = opened(HttpProxy(front.port))
    named = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
    words = run(f"https://{NAME}", "--ca-file", str(own.pem), "-q")

    unasked = bulklink(*words, **named)
    excepted = bulklink(*words, "--proxy", "env", NO_PROXY=f"other.invalid,{NAME}", **named)
    assert (unasked.returncode, excepted.returncode, proxy.heard) == (6, 6, [])
    odd = bulklink(*words, "--proxy", "env", HTTPS_PROXY="socks5://127.0.0.1:1")
    assert (odd.returncode, odd.stderr.count("\n")) == (2, 1)
    assert "HTTPS_PROXY" in odd.stderr
    assert bulklink(*words, "--proxy", "env", **named).returncode == 0
    assert portal.links() == {(1, 1), (1, 2)}


@pytest.mark.parametrize("tunnel", [False, True])
def test_a_proxy_gets_its_password_and_nobody_else_does(
    bulklink: "CommandLine",
    portal: "SimulatedPortal",
    opened: "Open[Any]",
    own: Certificate,
    server: Certificate,
    tunnel: bool,
) -> None:
    front = opened(Front(port_of(portal), server))
    password = "Basic dXNlcjpwYXNzLXdvcmQ="
    proxy = opened(HttpProxy(front.port if tunnel else port_of(portal), password=password))
    url = f"http://us%65r:pass%2Dword@127.0.0.1:{proxy.port}"
    way = (f"https://{NAME}", "--ca-file", str(own.pem)) if tunnel else (f"http://{NAME}", "--allow-http")

    done = bulklink(*run(*way, "-v"), BULKLINK_PROXY=url)

    assert done.returncode == 0
    assert portal.links() == {(1, 1), (1, 2)}
    assert {given for _, given in proxy.heard} == {password}
    targets = {first.split(" ")[1] for first, _ in proxy.heard}
    assert all(
        target.startswith(f"{NAME}:443" if tunnel else f"http://{NAME}/api/2.0/") for target in targets
    )
    files = [path.read_bytes() for path in bulklink.only_run().iterdir()]
    shown = [done.stdout.encode(), done.stderr.encode(), *files]
    assert [text for text in shown if b"pass%2Dword" in text or b"pass-word" in text] == []
    # The way is kept, its password is not: it is asked for.
    later = bulklink("verify", "one", "-q")
    assert (later.returncode, later.stderr.count("\n")) == (6, 1)
    assert "BULKLINK_PROXY" in later.stderr
    assert bulklink("verify", "one", "-q", BULKLINK_PROXY=url).returncode == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_never_reached_through_a_proxy(
    bulklink: "CommandLine", portal: "SimulatedPortal", host: str
) -> None:
    url = portal.url.replace("127.0.0.1", host)
    nowhere = "http://127.0.0.1:1"

    assert bulklink(*run(url, "-q", "--proxy", nowhere)).returncode == 0
    assert bulklink("verify", "one", "-q", "--proxy", "env", HTTP_PROXY=nowhere).returncode == 0
    assert portal.links() == {(1, 1), (1, 2)}


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1080", "http://", "http://proxy:0", "http://proxy/path", "http://[half"]
)
def test_what_is_no_http_proxy_is_refused_before_anything_is_done(
    bulklink: "CommandLine", proxy: str
) -> None:
    done = bulklink("run", "pairs.csv", "--portal", "https://portal.invalid", "--proxy", proxy)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--proxy: not the address of an http:// or https:// proxy" in done.stderr


async def call(url: str, proxy: str | None, tls: ssl.SSLContext | None = None) -> Reply | Failure:
    async with Http(url, timeout=5.0, tls=tls, proxy=proxy) as http:
        return await http.call("POST", LINK, headers={"Authorization": "secret"})


@pytest.mark.parametrize(("status", "final"), [(403, True), (405, True), (502, False), (504, False)])
async def test_a_proxy_that_does_not_connect_us_is_no_connection(status: int, final: bool) -> None:
    """Nothing of the request was sent, so nothing can be stored."""
    async with HttpProxy(1, refusal=status) as proxy:
        failure = await call(f"https://{NAME}", f"http://127.0.0.1:{proxy.port}")

    assert isinstance(failure, Failure)
    assert (failure.kind, failure.final) == ("connect", final)
    assert failure.detail == f"the proxy does not connect us (HTTP {status})"


async def test_a_proxy_that_wants_a_password_says_so_like_any_other_answer() -> None:
    """What follows is in the table of answers: the run is stopped."""
    async with HttpProxy(1, refusal=407) as proxy:
        reply = await call(f"https://{NAME}", f"http://127.0.0.1:{proxy.port}")

    assert isinstance(reply, Reply)
    assert reply.status == 407


async def test_a_proxy_that_is_not_there_is_named_as_what_is_missing() -> None:
    failure = await call(f"https://{NAME}", "http://127.0.0.1:1")

    assert isinstance(failure, Failure)
    assert (failure.kind, failure.detail) == ("connect", "no connection to the proxy (Connection refused)")


async def test_a_certificate_of_another_host_or_of_nobody_is_told_apart(
    folder: Path, own: Certificate, server: Certificate
) -> None:
    async with Front(1, signed(folder, own, "other.invalid")) as front:
        other = await call(f"https://localhost:{front.port}", None, tls_context(own.pem, None, None))
    async with Front(1, server) as front:
        nobody = await call(f"https://localhost:{front.port}", None)

    assert isinstance(other, Failure)
    assert isinstance(nobody, Failure)
    assert (other.final, nobody.final) == (True, True)
    assert "ostname mismatch" in other.detail
    assert "--ca-file" not in other.detail
    assert "--ca-file" in nobody.detail
