"""Kerberos for WebHDFS: the SPNEGO token of one request, from the ticket that kinit or a keytab gave."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING

from crawlers.exceptions import UserError
from pipelines.claims.files import StoreAway

if TYPE_CHECKING:
    from pipelines.claims.webhdfs import Negotiate


def negotiator() -> Negotiate:
    """Makes the Authorization header for a NameNode, by pyspnego, which is not installed unless one needs it.

    Tickets are the system's: `KRB5CCNAME` names their cache, `KRB5_CLIENT_KTNAME` a keytab to renew them from.
    """
    try:
        import gssapi.exceptions  # the part of pyspnego that must be compiled
        import spnego
        import spnego.exceptions
    except ImportError:
        raise UserError("CLAIM_CHECK_KERBEROS=1 needs a library: pip install 'pyspnego[kerberos]'") from None

    def token(host: str) -> str:
        try:
            client = spnego.client(hostname=host, service="HTTP", protocol="kerberos")
            return "Negotiate " + b64encode(client.step() or b"").decode()
        except spnego.exceptions.SpnegoError as error:
            raise StoreAway("denied", f"no Kerberos ticket for HTTP@{host}: {why(error)}") from None

    def why(error: spnego.exceptions.SpnegoError) -> str:
        """In Kerberos' own words, which only the thread knows in which it failed."""
        cause = error.base_error
        if isinstance(cause, gssapi.exceptions.GSSError):
            return " ".join(cause.get_all_statuses(cause.min_code, False))
        return str(error)

    async def negotiate(host: str) -> str:
        return await asyncio.to_thread(token, host)

    return negotiate
