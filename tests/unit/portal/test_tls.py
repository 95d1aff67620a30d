"""Files of certificates that cannot be used: each is one line that names the option and the file."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.ways import Certificate, authority
from worker.errors import UsageError
from worker.portal.tls import breach, tls_context

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl to make certificates with"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def one(folder: Path) -> Certificate:
    return authority(folder, "one")


@pytest.fixture(scope="module")
def another(folder: Path) -> Certificate:
    return authority(folder, "another")


def refusal(ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        tls_context(ca, cert, key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_not_there_or_hold_something_else_are_named(folder: Path, one: Certificate) -> None:
    odd = folder / "odd.pem"
    odd.write_text("hello")
    missing = folder / "missing.pem"

    assert refusal(missing) == f"--ca-file: {missing}: No such file or directory"
    assert refusal(odd) == f"--ca-file: {odd}: holds no certificate in PEM form"
    assert refusal(None, missing) == f"--client-cert: {missing}: No such file or directory"
    assert refusal(None, one.pem, missing) == f"--client-key: {missing}: No such file or directory"
    assert refusal(None, odd) == f"--client-cert: {odd}: holds not a certificate and its key in PEM form"
    assert (
        refusal(None, one.pem) == f"--client-cert: {one.pem}: holds not a certificate and its key in PEM form"
    )
    assert refusal(None, None, one.key) == "--client-key: its certificate is missing, see --client-cert"


def test_a_key_of_another_certificate_is_named_as_that(one: Certificate, another: Certificate) -> None:
    assert (
        refusal(None, one.pem, another.key) == f"--client-cert: {one.pem}: the key is not the certificate's"
    )


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(
    folder: Path, one: Certificate
) -> None:
    locked = folder / "locked.key"
    words = ["openssl", "pkcs8", "-topk8", "-in", str(one.key), "-out", str(locked), "-passout", "pass:word"]
    subprocess.run(words, check=True, capture_output=True)

    assert refusal(None, one.pem, locked) == f"--client-key: {locked}: the key is encrypted"


def test_good_files_are_taken(one: Certificate) -> None:
    context = tls_context(one.pem, one.with_key, None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    tls_context(None, one.pem, one.key)


def test_a_breach_that_is_unknown_is_told_in_a_few_words() -> None:
    assert breach(ssl.SSLError(1, "long text of a library")) == "no TLS comes about (SSLError)"
