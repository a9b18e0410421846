"""ssl_params: the certificate of a server whose maker names it in the words of `ssl`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from duck import settings as installed
from duck.exceptions import SSLError
from duck.net.tls import NONE, REQUESTED, REQUIRED, Contexts, TlsConfig, tls_config
from duck.settings import views

_NAMES: Final = {"certfile", "keyfile", "ca_certs", "cert_reqs"}
_CLIENTS: Final = {ssl.CERT_NONE: NONE, ssl.CERT_OPTIONAL: REQUESTED, ssl.CERT_REQUIRED: REQUIRED}


def contexts_of(ssl_params: Mapping[str, Any] | None) -> Contexts:
    """What `ssl_params` say TLS is served with; None stands for what the settings say.

    Raises:
        SSLError: there is no certificate, or a file or parameter is wrong.
    """
    if ssl_params is None:
        settings = installed.current()
        pairs = views.https(settings).pairs if settings is not None else ()
        if settings is None or not pairs:
            raise SSLError(
                "There is no certificate to serve HTTPS with: give ssl_params with certfile and keyfile, or set"
                " SSL_CERTFILE_LOCATION and SSL_PRIVATE_KEY_LOCATION."
            )
        return Contexts(tls_config(views.https(settings), pairs, http2=settings["HTTP2"]))
    unknown = sorted(set(ssl_params) - _NAMES)
    if unknown or not ssl_params.get("certfile"):
        what = f"{unknown[0]} is none of them" if unknown else "certfile is missing"
        raise SSLError(f"ssl_params has certfile, keyfile, ca_certs and cert_reqs, and {what}.")
    chain = str(ssl_params["certfile"])
    authorities = ssl_params.get("ca_certs")
    return Contexts(
        TlsConfig(
            ((chain, str(ssl_params.get("keyfile") or chain)),),
            client_certificates=_CLIENTS[ssl_params.get("cert_reqs", ssl.CERT_NONE)],
            client_ca=None if authorities is None else str(authorities),
        )
    )
