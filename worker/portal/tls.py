"""Whom we trust and who we are when the portal is reached by TLS; what went wrong with it in plain words."""

import ssl
from pathlib import Path

from worker.errors import UsageError

_OF_AN_UNKNOWN_AUTHORITY = {18, 19, 20, 21}
"""OpenSSL's numbers for a chain of certificates that ends in none that is trusted."""

_OWN_AUTHORITY = (
    "; if an authority of your own has signed it, name its certificate: --ca-file, or SSL_CERT_FILE"
)

_NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}
"""OpenSSL's words for a first answer that is something else."""

_WANTS_A_CERTIFICATE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA",
}
"""OpenSSL's words for a server that ends the handshake over our certificate, or the lack of one."""


def tls_context(ca_file: Path | None, client_cert: Path | None, client_key: Path | None) -> ssl.SSLContext:
    """Check certificates against the system's authorities, or those of ``SSL_CERT_FILE``.

    Args:
        ca_file: more authorities to trust, as PEM.
        client_cert: our own certificate, as PEM, with its key unless that is in a file of its own.
        client_key: that file.

    Raises:
        UsageError: a file cannot be used; the message names it.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError:
            raise UsageError(f"--ca-file: {ca_file}: holds no certificate in PEM form") from None
        except OSError as error:
            raise UsageError(f"--ca-file: {ca_file}: {error.strerror}") from None
    if client_cert is not None:
        _identify(context, client_cert, client_key)
    elif client_key is not None:
        raise UsageError("--client-key: its certificate is missing, see --client-cert")
    return context


def _identify(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    def refuse() -> str:
        # Or OpenSSL would ask at the terminal, where often nobody is.
        raise UsageError(f"--client-{'key' if key else 'cert'}: {key or cert}: the key is encrypted")

    for name, path in (("cert", cert), ("key", key)):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise UsageError(f"--client-{name}: {path}: {error.strerror}") from None
    try:
        context.load_cert_chain(cert, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(f"--client-cert: {cert}: the key is not the certificate's") from None
        both = "a certificate" if key else "a certificate and its key"
        raise UsageError(f"--client-cert: {cert}: holds not {both} in PEM form") from None


def distrust(error: Exception) -> str:
    """Why the portal's certificate is not taken, and what to do if that can be helped."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    advice = _OWN_AUTHORITY if error.verify_code in _OF_AN_UNKNOWN_AUTHORITY else ""
    return f"its certificate is not trusted ({error.verify_message.rstrip('.')}){advice}"


def refuses_our_certificate(error: BaseException | None) -> bool:
    """Whether the server ended the connection over our certificate, or the lack of one."""
    return isinstance(error, ssl.SSLError) and _reason(error) in _WANTS_A_CERTIFICATE


def breach(error: BaseException | None) -> str:
    """Why no TLS came about with somebody who answers."""
    reason = _reason(error)
    if reason in _NO_TLS:
        return "it answers, but not with TLS; is it http://, or another port?"
    if reason in _WANTS_A_CERTIFICATE:
        return "it ends the TLS handshake, as if it wanted another certificate from us; see --client-cert"
    return f"no TLS comes about ({reason.replace('_', ' ').lower() or type(error).__name__})"


def _reason(error: BaseException | None) -> str:
    return (getattr(error, "reason", None) or "").upper() if isinstance(error, ssl.SSLError) else ""
