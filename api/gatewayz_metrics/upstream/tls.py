"""TLS towards the upstream: whom it trusts, the certificate it shows, and why a handshake failed."""

import ssl

import httpx

from gatewayz_metrics.errors import ServiceError, TlsFailed
from gatewayz_metrics.settings import Settings

# Words for the codes of X509_verify_cert_error_string, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/.
_UNTRUSTED = "its certificate is signed by an unknown authority"
_WRONG_HOST = "its certificate is for another host"
_VERIFY_CAUSES = {
    2: _UNTRUSTED,
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself",
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "its certificate is revoked",
    62: _WRONG_HOST,
    64: _WRONG_HOST,
}
# Words for the alerts of RFC 8446, 6.2, which the upstream sends, by what OpenSSL's reason contains.
_ALERT_CAUSES = {
    "CERTIFICATE_REQUIRED": "it wants a client certificate",
    "ALERT_HANDSHAKE_FAILURE": "it refuses the handshake, or wants a client certificate",
    "ALERT_UNKNOWN_CA": "it does not know the authority of our client certificate",
    "ALERT_CERTIFICATE_EXPIRED": "our client certificate has expired",
    "ALERT_BAD_CERTIFICATE": "it refuses our client certificate",
    "ALERT_CERTIFICATE_UNKNOWN": "it refuses our client certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS there",
    "RECORD_LAYER_FAILURE": "it does not speak TLS there",
}


def create_context(settings: Settings) -> ssl.SSLContext:
    """The context for connections to the upstream; reads files. Raises ValueError with a sentence."""
    ca, cert, key = settings.prometheus_ca_file, settings.prometheus_cert_file, settings.prometheus_key_file
    try:
        context = ssl.create_default_context(cafile=ca) if ca else httpx.create_ssl_context(trust_env=False)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"PROMETHEUS_CA_FILE {ca} holds no certificates that can be read ({exc}).") from None
    if cert is not None:
        try:
            # With a password that is none: OpenSSL would else ask for it at the terminal.
            context.load_cert_chain(cert, key, password=lambda: "none")
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "reason", "") or getattr(exc, "strerror", "")
            raise ValueError(
                f"PROMETHEUS_CERT_FILE {cert} and PROMETHEUS_KEY_FILE {key or cert} cannot be used together "
                f"({reason or type(exc).__name__}); a key must be whole, of this certificate, and without a password."
            ) from None
    return context


def explain_tls_error(exc: BaseException | None, host: str) -> TlsFailed | None:
    """The error for a handshake that failed, or None when TLS is not what failed."""
    error = _find_tls_error(exc)
    # An end without a goodbye, as of a server that was killed, is no matter of certificates.
    return None if error is None or isinstance(error, ssl.SSLEOFError) else TlsFailed(host, _name_cause(error))


def _find_tls_error(exc: BaseException | None) -> ssl.SSLError | None:
    """The TLS error among the causes; httpx raises the same errors for all of them."""
    # An error of ours is the attempt before.
    while exc is not None and not isinstance(exc, ServiceError):
        if isinstance(exc, ssl.SSLError):
            return exc
        exc = exc.__cause__ or exc.__context__
    return None


def _name_cause(error: ssl.SSLError) -> str:
    """Why a handshake failed, in words that hold nothing of the certificates."""
    if cause := _VERIFY_CAUSES.get(getattr(error, "verify_code", 0)):
        return cause
    # Absent where Python itself raises the error, as the code is.
    reason = getattr(error, "reason", "") or ""
    for part, cause in _ALERT_CAUSES.items():
        if part in reason:
            return cause
    return f"OpenSSL says {reason.lower().replace('_', ' ')}" if reason else ""
