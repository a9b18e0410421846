"""One alert, sent to a URL."""

from __future__ import annotations

import json
from typing import Any, Final

from duck.services.exchange import Exchange

TIMEOUT_S: Final = 10.0


class NotTaken(Exception):
    """A receiver has not taken an alert; the text says why, and nothing of its URL.

    Attributes:
        may_again: whether another try could succeed.
    """

    def __init__(self, why: str, *, may_again: bool) -> None:
        super().__init__(why)
        self.may_again = may_again


def post(url: str, values: dict[str, Any], timeout_s: float = TIMEOUT_S) -> None:
    """Send it; returns when the receiver has taken it, or has not within so many seconds in all.

    Raises:
        NotTaken: it has not.
    """
    import httpx

    exchange = Exchange(timeout_s)
    try:
        with exchange, httpx.Client(timeout=timeout_s, follow_redirects=False) as client:
            headers = {"Content-Type": "application/json", "User-Agent": "Duck"}
            text = json.dumps(values).encode()
            # Of what it answers only the status is read.
            with client.stream("POST", url, content=text, headers=headers, extensions=exchange.extensions) as answer:
                status = answer.status_code
    except (httpx.TimeoutException, TimeoutError):
        raise NotTaken(f"it has not answered within {timeout_s:g} s", may_again=True) from None
    except httpx.HTTPError as error:
        if exchange.is_over:
            raise NotTaken(f"it has not answered within {timeout_s:g} s", may_again=True) from None
        # Texts of errors may have the URL in them, which is a secret.
        raise NotTaken(f"it cannot be asked ({type(error).__name__})", may_again=True) from None
    except (httpx.InvalidURL, ValueError):
        raise NotTaken("its URL cannot be used", may_again=False) from None
    if not 200 <= status < 300:
        raise NotTaken(f"it answered {status}", may_again=status in (408, 425, 429) or status >= 500)
