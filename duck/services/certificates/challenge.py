"""How a name is shown to be ours (RFC 8555 §8): a file that port 80 serves, or a record in the DNS."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from duck.exceptions import CertificateError
from duck.http.challenges import PREFIX, TOKEN
from duck.services.certificates.private_file import write_private

PATH: Final = PREFIX.decode()
HTTP_01: Final = "http-01"
DNS_01: Final = "dns-01"

_LEFT_S: Final = 86_400.0
_HOOK_S: Final = 180.0
_SHOWN: Final = 600


class Prover(Protocol):
    """Shows that a name is ours.

    Attributes:
        kind: the type of the challenge that it answers.
    """

    kind: str

    def present(self, name: str, token: str, value: str) -> None:
        """Have the authority find `value`, the key authorization or its digest.

        Raises:
            CertificateError: it cannot be put there.
        """

    def remove(self, name: str, token: str, value: str) -> None:
        """Take it away; that it could not is no failure."""

    def settle(self) -> None:
        """Wait until it can be seen, after all have been presented."""


class HttpProver:
    """Files `<state>/acme/challenges/<token>`, which the plain HTTP side serves below `PATH`."""

    kind = HTTP_01

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def present(self, name: str, token: str, value: str) -> None:
        """Write the file, and remove those that a pass which was killed has left."""
        write_private(self._file(token), value.encode("ascii"))
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                if time.time() - path.stat().st_mtime > _LEFT_S:
                    path.unlink()

    def remove(self, name: str, token: str, value: str) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self._file(token).unlink()

    def settle(self) -> None:
        """A file is there at once."""

    def _file(self, token: str) -> Path:
        if not TOKEN.fullmatch(token.encode("utf-8", "replace")):
            raise CertificateError(f"The authority sent a token that is none: {token[:80]!r}.")
        return self._directory / token


class DnsHook:
    """A command that is called for each record, once to make it and once to take it out.

    Its environment says what:

    | variable | |
    |---|---|
    | DUCK_ACME_ACTION | `present` or `remove` |
    | DUCK_ACME_DOMAIN | the name that is proved, without `*.` |
    | DUCK_ACME_NAME | of the TXT record: `_acme-challenge.` and the domain |
    | DUCK_ACME_VALUE | of the TXT record |

    For one name there may be two records at once, for `example.org` and for `*.example.org`. A status other than 0 is a
    failure, told with the end of what it wrote.
    """

    kind = DNS_01

    def __init__(
        self,
        command: Sequence[str],
        wait_s: float,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], object] = time.sleep,
        timeout_s: float = _HOOK_S,
    ) -> None:
        self._command = list(command)
        self._wait_s = wait_s
        self._environ = os.environ if environ is None else environ
        self._sleep = sleep
        self._timeout_s = timeout_s

    def present(self, name: str, token: str, value: str) -> None:
        """Have the record made."""
        self._call("present", name, value)

    def remove(self, name: str, token: str, value: str) -> None:
        """Have the record taken out."""
        with contextlib.suppress(CertificateError):
            self._call("remove", name, value)

    def settle(self) -> None:
        """Give the DNS its time."""
        if self._wait_s:
            self._sleep(self._wait_s)

    def _call(self, action: str, name: str, value: str) -> None:
        domain = name.removeprefix("*.")
        told = {
            "DUCK_ACME_ACTION": action,
            "DUCK_ACME_DOMAIN": domain,
            "DUCK_ACME_NAME": f"_acme-challenge.{domain}",
            "DUCK_ACME_VALUE": value,
        }
        shown = f"ACME_DNS_HOOK ({self._command[0]})"
        # Into a file: of a pipe the end would come when all that the command has started have ended, too.
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    self._command,
                    env={**self._environ, **told},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=self._timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise CertificateError(f"{shown} has not ended after {self._timeout_s:g} s.", kind="hook") from error
            except OSError as error:
                raise CertificateError(
                    f"{shown} cannot be run: {error.strerror or error}; give a command that is there.", kind="hook"
                ) from error
            output.seek(max(0, output.seek(0, os.SEEK_END) - _SHOWN))
            said = output.read().decode("utf-8", "replace").strip()
        if done.returncode != 0:
            raise CertificateError(
                f"{shown} ended with {done.returncode} when it was to {action} {told['DUCK_ACME_NAME']}"
                f"{': ' + said if said else '.'}",
                kind="hook",
            )
