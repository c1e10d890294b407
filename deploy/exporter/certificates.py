"""When the certificate that a TLS server shows ends."""

from __future__ import annotations

import socket
import ssl

from cryptography import x509

_TIMEOUT = 5.0


def expiry(endpoint: str) -> float:
    """Seconds since 1970, of the server at host:port. Raises OSError where it shows none.

    Whether it is to be trusted is its clients' business: also one that nobody trusts any more is looked at.
    """
    host, _, port = endpoint.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), _TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    if shown is None:
        raise OSError(f"{endpoint} shows no certificate")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()
