"""AcmeNetwork: the library's way to an ACME server (RFC 8555), with what it leaves out."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from acme import client, messages
from josepy.json_util import field

if TYPE_CHECKING:
    import requests

_NONCES: Final = 10


class AcmeNetwork(client.ClientNetwork):
    """Asks again with another nonce as often as the authority wants it to, and remembers what it said of time.

    Attributes:
        retry_after_s: what the last answer said of when to come again, in seconds; None where it did not.
        date: the moment of the last answer by the authority's clock, in seconds since 1970; None where it told none.
        replaces: which certificate the next order replaces (RFC 9773 §5); None for none.
    """

    retry_after_s: float | None = None
    date: float | None = None
    replaces: str | None = None

    def post(self, url: str, obj: Any, *arguments: Any, **named: Any) -> requests.Response:
        if self.replaces is not None and isinstance(obj, messages.NewOrder):
            obj = _Replacing(**dict(obj), replaces=self.replaces)
        arguments = (url, obj, *arguments)
        for _ in range(_NONCES):
            try:
                # The library's own second try is one of two, and one nonce in five may be refused.
                return super().post(*arguments, **named)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*arguments, **named)

    def _send_request(self, *arguments: Any, **named: Any) -> requests.Response:
        response = super()._send_request(*arguments, **named)
        self.date = _moment(response.headers.get("Date"))
        said = response.headers.get("Retry-After") if response.status_code in (429, 503) else None
        self.retry_after_s = None
        if said is not None:
            moment = _moment(said)
            self.retry_after_s = float(said) if said.isdecimal() else None
            if moment is not None:
                self.retry_after_s = max(0.0, moment - time.time())
        return response


def _moment(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


class _Replacing(messages.NewOrder):
    """An order that says which certificate it replaces (RFC 9773 §5); the library knows of none."""

    replaces: str = field("replaces", omitempty=True)
