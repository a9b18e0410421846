"""Failures of an ACME server, and of the library that asks it, as `CertificateError`: what a person can act upon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import josepy
import requests
from acme import errors, messages

from duck.exceptions import CertificateError


@contextmanager
def told_of(where: str, retry_after_s: Callable[[], float | None]) -> Iterator[None]:
    """Tell failures of the library as ours.

    Args:
        where: the address of the authority's directory.
        retry_after_s: what it said last of when to come again, in seconds.

    Raises:
        CertificateError: whatever the library failed with; `kind` says whose matter it is.
    """
    try:
        yield
    except errors.ValidationError as error:
        raise CertificateError(_why_unproved(error), kind="validation") from error
    except errors.IssuanceError as error:
        raise CertificateError(f"{where} did not issue it: {_why(error.error)}", kind="authority") from error
    except errors.ARIError as error:
        raise CertificateError(f"{where} did not tell when to renew: {error.__cause__ or error}.") from error
    except errors.TimeoutError as error:
        raise CertificateError(f"{where} did not come to an end in time; it is tried again.") from error
    except messages.Error as error:
        kind = {"rateLimited": "limit", "userActionRequired": "terms"}.get(error.code or "", "authority")
        sentence = f"{where} refused: {_why(error)}"
        raise CertificateError(sentence, kind=kind, retry_after_s=retry_after_s()) from error
    except requests.exceptions.SSLError as error:
        raise CertificateError(
            f"The certificate of {where} is not one that is trusted ({_reason(error)}); name its authority with"
            " --acme-ca-file."
        ) from error
    except requests.exceptions.RequestException as error:
        raise CertificateError(f"{where} is not reached: {_reason(error)}.") from error
    except (errors.Error, ValueError, josepy.errors.Error, KeyError) as error:
        # What answers there is no ACME server, or one that breaks RFC 8555.
        raise CertificateError(f"{where} answers what is no ACME ({type(error).__name__}: {error}).") from error


def _why_unproved(error: errors.ValidationError) -> str:
    reasons = [
        f"{authorization.body.identifier.value} by {challenge.chall.typ}: {_why(challenge.error)}"
        for authorization in error.failed_authzrs
        for challenge in authorization.body.challenges
        if challenge.error is not None
    ]
    return f"The authority could not see that the name is ours: {' '.join(reasons)}"


def _why(error: messages.Error) -> str:
    detail = (error.detail or error.description or str(error.typ)).strip()
    parts = [detail, *((problem.detail or "").strip() for problem in error.subproblems or ())]
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)


def _reason(error: Exception) -> str:
    """The innermost cause, which is what a person can act upon."""
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None)
        following = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
        if following is None or following is cause:
            break
        cause = following
    return (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).strip().rstrip(".")
