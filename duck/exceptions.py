"""Every error Duck raises on purpose, in one tree.

    DuckError
    ├── SettingsError             a setting: unknown, of the wrong type, out of range
    ├── SSLError                  a certificate or key: missing, unreadable, not matching
    ├── CertificateError          a certificate cannot be obtained, kept or trusted; says when to try again
    ├── ApplicationError          the App: a second instance, an address that is none
    │   ├── AlreadyRunning        another Duck holds this project, settings module and name
    │   └── AddressInUse          another process holds the port
    ├── ProjectError              the user's Django project or its interpreter cannot be found or used
    ├── ProtocolError             the peer broke HTTP; carries the status to answer with
    │   ├── LimitExceeded         ... or one of the limits set for it
    │   └── Http2Error            ... or the framing of HTTP/2; carries the code to close with
    ├── BackendError              a backend failed; carries 502, 503 or 504
    │   ├── BackendUnreachable    nobody answered the dial, or the connection died before the answer
    │   ├── BackendCut            the answer ended before its end
    │   ├── BackendTimeout        a deadline passed while waiting for the backend
    │   └── BackendBusy           no slot became free in time
    ├── StoreError                what keeps automations' runs cannot be reached, or refuses
    │   └── CrowdedError          ... one run more, for too many of its automation wait
    ├── ClientGone                the client left, or was cut off, before its exchange was complete
    ├── HttpError                 a view or middleware refuses; carries the status to answer with
    └── ExpectingNoResponse       a view answered by itself (a WebSocket view, an upgrade)

An error carries what its handler needs; nothing matches on its text.
"""

from __future__ import annotations


class DuckError(Exception):
    """The root: catch this to catch whatever Duck raises on purpose."""


class SettingsError(DuckError):
    """A setting is unknown or has a value it cannot have; the sentence names both and the remedy."""


class SSLError(DuckError):
    """A certificate or private key is missing, unreadable or wrong."""


class CertificateError(DuckError):
    """A certificate cannot be obtained, written or trusted.

    Args:
        kind: `name`, `terms`, `authority` (not reached, or it refused), `validation` (it could not see that the name is
            ours), `limit` (too many orders), `disk`, `busy` (another process is at it) or `hook`.
        retry_after_s: what the authority said of the next try; None where it said nothing.
    """

    def __init__(self, message: str, *, kind: str = "authority", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s


class StoreError(DuckError):
    """What keeps automations' runs cannot be reached, or refuses; where its answer was lost, it may have done it."""


class CrowdedError(StoreError):
    """One run more is not queued, for too many of its automation wait."""


class ApplicationError(DuckError):
    """The App cannot be made or started as asked."""


class AlreadyRunning(ApplicationError):
    """Another Duck runs this project with the same settings module and name."""

    def __init__(self, message: str, *, pid: int | None = None, addresses: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.pid = pid
        self.addresses = addresses


class AddressInUse(ApplicationError):
    """The address to listen on is held by another process."""


class ProjectError(DuckError):
    """No usable Django project, settings module or interpreter was found."""


class ProtocolError(DuckError):
    """The peer sent what HTTP does not allow.

    `status` is what to answer with; the connection closes after it, since what follows on it cannot be framed.
    """

    status = 400

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LimitExceeded(ProtocolError):
    """The peer sent more than a limit allows: 413, 414, 431, or 408 when too slowly."""


class Http2Error(ProtocolError):
    """The peer broke the framing of HTTP/2, or floods: the connection ends with `code` (RFC 9113 §7)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class BackendError(DuckError):
    """A backend did not do its part.

    Args:
        backend: the address or name of the backend, as the log line says it.
        retryable: True while nothing of the request can have been acted upon.
    """

    status = 502

    def __init__(self, message: str, *, backend: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.backend = backend
        self.retryable = retryable


class BackendUnreachable(BackendError):
    """The dial failed, or a kept connection turned out to be dead."""


class BackendCut(BackendError):
    """The connection ended within an answer."""


class BackendTimeout(BackendError):
    """A deadline passed before the backend connected, answered or went on."""

    status = 504


class BackendBusy(BackendError):
    """The queue for this backend is full, or the wait in it took too long."""

    status = 503


class ClientGone(DuckError):
    """The connection ended within its exchange: the client left, or Duck cut it; the sentence says which."""


class HttpError(DuckError):
    """Raised by a view or middleware instead of returning a response: answers `status` with an error page.

    Args:
        detail: shown to the client; a general sentence for the status by default.
    """

    def __init__(self, status: int, detail: str | None = None) -> None:
        super().__init__(f"{status}" if detail is None else f"{status}: {detail}")
        self.status = status
        self.detail = detail


class ExpectingNoResponse(DuckError):
    """Raised instead of a response by what has answered, or goes on answering, by itself."""
