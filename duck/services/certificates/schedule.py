"""When a certificate is renewed, when its authority is asked about that, and what follows a failure.

    obtained ──> wait ──ask_at──> ask (RFC 9773) ──> wait
                   └──renew_at──> order ──> obtained
                                    └──failed──> wait until next_at, longer each time ──> order

Plain values and functions: moments are seconds since the epoch, chance is a number in [0, 1) that is drawn elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0

ORDER: Final = "order"
ASK: Final = "ask"
WAIT: Final = "wait"

# Of a life this part passes before renewal, where the authority says nothing of it: a month of Let's Encrypt's 90 days
# is left then. Of a life shorter than ten days half is left, as that authority advises for its six-day profile.
_PART: Final = 2 / 3
_SHORT_LIFE: Final = 10 * DAY
_SHORT_PART: Final = 1 / 2
# So many sites renew at one moment as were obtained at one moment, but for this part of the life.
_JITTER: Final = 0.05

# Pauses after the first, second ... failure in a row; the last one from then on. Let's Encrypt lets a name fail five
# times an hour.
_PAUSES_S: Final = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR)
_PAUSE_JITTER: Final = 0.2
_URGENT_PAUSE_S: Final = HOUR
# Failures to see that the name is ours after which the authority's staging is tried, whose limits are wide.
_STAGING_AFTER: Final = 2


@dataclass(frozen=True)
class Term:
    """How long a certificate is valid, in seconds since the epoch."""

    not_before: float
    not_after: float

    @property
    def life_s(self) -> float:
        """The whole of it."""
        return self.not_after - self.not_before


@dataclass(frozen=True)
class Progress:
    """What is remembered of one name between runs.

    Attributes:
        renew_at: when to order the next certificate; 0 for at once.
        ask_at: when to ask the authority whether that has changed.
        failures: in a row; 0 after a success.
        unproved: those of them in a row in which the authority did not see that the name is ours.
        next_at: not before this is anything ordered.
        error: the last failure, in a sentence.
        error_kind: as of `CertificateError`.
        failed_at: when that was.
        has_rehearsed: staging has worked since the last failure.
        certificate: the fingerprint of the certificate that all this is about; empty for none yet.
    """

    renew_at: float = 0.0
    ask_at: float = 0.0
    failures: int = 0
    unproved: int = 0
    next_at: float = 0.0
    error: str = ""
    error_kind: str = ""
    failed_at: float = 0.0
    has_rehearsed: bool = False
    certificate: str = ""

    @classmethod
    def from_values(cls, values: Any) -> Progress:
        """What `as_values` gave; what is missing or of another type is as at the beginning."""
        values = values if isinstance(values, dict) else {}
        known: dict[str, Any] = {}
        for field in fields(cls):
            value = values.get(field.name)
            kind = type(field.default)
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is kind:
                known[field.name] = value
        return cls(**known)

    def as_values(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def of(self, certificate: str) -> Progress:
        """This, where it is about `certificate`; else nothing is known of that: its success could not be written."""
        return self if self.certificate == certificate else Progress(certificate=certificate)


@dataclass(frozen=True)
class Step:
    """What is to be done for one name: `order`, `ask` or `wait`; `at` is when, or until when."""

    what: str
    at: float


def next_step(now: float, term: Term | None, progress: Progress) -> Step:
    """What is due for a name whose certificate is valid for `term`; None where there is none of its authority."""
    if term is None:
        wanted = 0.0
    elif progress.renew_at:
        # An answer of the authority's does not outlive the certificate.
        wanted = min(progress.renew_at, latest_renewal(term))
    else:
        wanted = usual_renewal(term, 0.0)
    order_at = max(wanted, progress.next_at)
    if order_at <= now:
        return Step(ORDER, now)
    ask_at = max(progress.ask_at, progress.next_at)
    if term is not None and wanted > now and term.not_after > now:
        return Step(ASK, now) if ask_at <= now else Step(WAIT, min(order_at, ask_at))
    return Step(WAIT, order_at)


def usual_renewal(term: Term, chance: float) -> float:
    """When to renew where the authority says nothing: after two thirds of its life, a little earlier by chance."""
    part = _SHORT_PART if term.life_s < _SHORT_LIFE else _PART
    return term.not_before + term.life_s * (part - _JITTER * chance)


def latest_renewal(term: Term) -> float:
    """When to renew whatever anybody says: with a tenth of its life left."""
    return term.not_before + term.life_s * 0.9


def obtained(term: Term, certificate: str, now: float, chance: float) -> Progress:
    """After a success."""
    # What the authority suggests is asked for soon, and not at once: a certificate just issued is fine.
    ask_at = now + min(6 * HOUR, term.life_s / 10)
    return Progress(renew_at=usual_renewal(term, chance), ask_at=ask_at, certificate=certificate)


def told(progress: Progress, renew_at: float | None, ask_at: float, now: float) -> Progress:
    """After the authority was asked: `renew_at` by its window, None where it suggests nothing.

    It is asked again at `ask_at`, at the earliest in a minute and at the latest in a day (RFC 9773 §4.3.2).
    """
    ask_at = min(max(ask_at, now + MINUTE), now + DAY)
    return replace(progress, ask_at=ask_at, renew_at=progress.renew_at if renew_at is None else renew_at)


def failed(
    progress: Progress,
    now: float,
    chance: float,
    *,
    error: str,
    kind: str,
    retry_after_s: float | None = None,
    term: Term | None = None,
) -> Progress:
    """After a failure of any kind: the next try comes later each time, and never before the authority allows it."""
    failures = progress.failures + 1
    pause = _PAUSES_S[min(failures, len(_PAUSES_S)) - 1]
    if term is not None and term.not_after - now < max(DAY, term.life_s / 10):
        pause = min(pause, _URGENT_PAUSE_S)  # soon there will be nothing to serve with
    pause *= 1 + _PAUSE_JITTER * chance
    if retry_after_s is not None:
        pause = max(pause, min(retry_after_s, 7 * DAY))
    return replace(
        progress,
        failures=failures,
        unproved=progress.unproved + 1 if kind == "validation" else progress.unproved,
        next_at=now + pause,
        error=error,
        error_kind=kind,
        failed_at=now,
        has_rehearsed=False,
    )


def rehearsed(progress: Progress, now: float) -> Progress:
    """After a success of staging: the real authority is asked at once."""
    return replace(progress, has_rehearsed=True, next_at=now)


def is_rehearsal(progress: Progress, *, has_staging: bool) -> bool:
    """Whether the next order goes to staging: the name could not be proved, and staging has not seen it since."""
    return has_staging and progress.unproved >= _STAGING_AFTER and not progress.has_rehearsed
