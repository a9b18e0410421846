"""Where a machine keeps the authorities that it trusts, and the commands that put ours there or take it out again.

    Linux      the distribution's directory of local authorities, and its command that gathers them
    macOS      the user's login keychain
    Windows    the user's store of root authorities
    besides    the NSS databases of Firefox and Chromium, where `certutil` of NSS is installed

`plan` decides, from what is there; `carry_out` runs what it says, one after the other, and tells what came of each.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DONE: Final = "done"
FAILED: Final = "failed"
NOT_DONE: Final = "not done"

# Directory of local authorities, the command that gathers them, and what that wants after one was removed.
_DISTRIBUTIONS: Final = (
    ("usr/local/share/ca-certificates", ("update-ca-certificates",), ("--fresh",), "Debian, Ubuntu, Alpine"),
    ("etc/pki/ca-trust/source/anchors", ("update-ca-trust", "extract"), (), "Fedora, RHEL"),
    ("etc/ca-certificates/trust-source/anchors", ("trust", "extract-compat"), (), "Arch"),
    ("usr/share/pki/trust/anchors", ("update-ca-certificates",), (), "SUSE"),
)
_PROFILES: Final = (
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
)
_CHROMIUM: Final = (".pki/nssdb", "snap/chromium/current/.pki/nssdb")
_COMMAND_S: Final = 120.0


@dataclass(frozen=True)
class Machine:
    """What the plan goes by.

    Attributes:
        platform: `linux`, `darwin` or `win32`, as of `sys.platform`.
        root: of the file system.
        which: where a program is; None for nowhere.
        has: whether an NSS database holds an authority of that name.
    """

    platform: str
    home: Path
    root: Path
    is_root: bool
    which: Callable[[str], str | None]
    has: Callable[[Path, str], bool]

    @classmethod
    def this(cls, *, home: Path, is_root: bool) -> Machine:
        """The one that this process runs on."""
        return cls(sys.platform, home, Path("/"), is_root, shutil.which, _is_in_database)


@dataclass(frozen=True)
class Step:
    """One command: `sentence` says what it does to `store`."""

    store: str
    sentence: str
    command: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(self.command)


@dataclass(frozen=True)
class Plan:
    """The steps, and what cannot be done, each with the remedy."""

    steps: tuple[Step, ...]
    omissions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What came of one step: `done`, `failed`, or `not done` because one before it failed."""

    step: Step
    outcome: str
    said: str = ""


def plan(machine: Machine, certificate: Path, name: str, *, removes: bool = False, sha1: str = "") -> Plan:
    """How the authority `name`, whose file is `certificate`, comes to be trusted; or with `removes`, no longer is.

    Args:
        sha1: of the certificate, in hexadecimal digits; Windows removes by it.
    """
    steps: list[Step] = []
    omissions: list[str] = []
    if machine.platform == "darwin":
        steps += _keychain(machine, certificate, removes=removes)
    elif machine.platform == "win32":
        steps += _windows(certificate, removes=removes, sha1=sha1)
    else:
        found, missing = _distribution(machine, certificate, name, removes=removes)
        steps += found
        omissions += missing
    if machine.platform != "win32":
        found, missing = _databases(machine, certificate, name, removes=removes)
        steps += found
        omissions += missing
    return Plan(tuple(steps), tuple(omissions))


def carry_out(steps: Sequence[Step], run: Callable[[Sequence[str]], tuple[int, str]] | None = None) -> Iterator[Result]:
    """Run each; of a store whose step failed the others are left, other stores go on."""
    run = _run if run is None else run
    failed: set[str] = set()
    for step in steps:
        if step.store in failed:
            yield Result(step, NOT_DONE)
            continue
        code, said = run(step.command)
        if code != 0:
            failed.add(step.store)
        yield Result(step, DONE if code == 0 else FAILED, said if code != 0 else "")


# -- stores -----------------------------------------------------------------------------------------------------------


def _distribution(machine: Machine, certificate: Path, name: str, *, removes: bool) -> tuple[list[Step], list[str]]:
    for directory, gather, after_removal, _ in _DISTRIBUTIONS:
        place = machine.root / directory
        if not place.is_dir() or machine.which(gather[0]) is None:
            continue
        target = place / f"{name.lower().replace(' ', '-')}.crt"
        if removes and not target.exists():
            return [], []
        prefix: tuple[str, ...] = ()
        if not machine.is_root:
            if machine.which("sudo") is None:
                command = f"install -m 0644 {shlex.quote(str(certificate))} {target} && {shlex.join(gather)}"
                if removes:
                    command = f"rm {target} && {shlex.join((*gather, *after_removal))}"
                return [], [f"The system's store is root's; as root, run: {command}"]
            prefix = ("sudo",)
        store = f"the system's store ({place})"
        if removes:
            return [
                Step(store, f"Remove {target}.", (*prefix, "rm", "-f", str(target))),
                Step(store, "Gather the system's authorities.", (*prefix, *gather, *after_removal)),
            ], []
        copy = ("install", "-m", "0644", str(certificate), str(target))
        return [
            Step(store, f"Copy the authority's certificate to {target}.", (*prefix, *copy)),
            Step(store, "Gather the system's authorities.", (*prefix, *gather)),
        ], []
    names = ", ".join(distribution for *_, distribution in _DISTRIBUTIONS)
    if removes:
        return [], []
    return [], [
        f"The system's store was not found (known are those of {names}): install ca-certificates, or add {certificate}"
        " by the means of this system."
    ]


def _keychain(machine: Machine, certificate: Path, *, removes: bool) -> list[Step]:
    keychain = machine.home / "Library" / "Keychains" / "login.keychain-db"
    store = "the login keychain"
    if removes:
        return [
            Step(store, "Remove the trust in the authority.", ("security", "remove-trusted-cert", str(certificate)))
        ]
    command = ("security", "add-trusted-cert", "-r", "trustRoot", "-p", "ssl", "-k", str(keychain), str(certificate))
    return [Step(store, "Trust the authority for TLS; macOS asks for your password.", command)]


def _windows(certificate: Path, *, removes: bool, sha1: str) -> list[Step]:
    store = "the user's root store"
    if removes:
        return [Step(store, "Remove the authority.", ("certutil", "-user", "-delstore", "Root", sha1))]
    command = ("certutil", "-user", "-addstore", "Root", str(certificate))
    return [Step(store, "Add the authority; Windows asks whether you trust it.", command)]


def _databases(machine: Machine, certificate: Path, name: str, *, removes: bool) -> tuple[list[Step], list[str]]:
    places = [machine.home / place for place in _CHROMIUM if (machine.home / place / "cert9.db").is_file()]
    for directory in _PROFILES:
        places += sorted(path.parent for path in (machine.home / directory).glob("*/cert9.db"))
    if not places:
        return [], []
    if machine.which("certutil") is None:
        where = ", ".join(map(str, places))
        remedy = "brew install nss" if machine.platform == "darwin" else "install libnss3-tools, or nss-tools"
        return [], [
            f"Firefox and Chromium have authorities of their own in {where}, and there is no certutil; {remedy}."
        ]
    steps = []
    for place in places:
        if removes:
            if machine.has(place, name):
                command: tuple[str, ...] = ("certutil", "-D", "-d", f"sql:{place}", "-n", name)
                steps.append(Step(str(place), f"Remove the authority from {place}.", command))
            continue
        command = ("certutil", "-A", "-d", f"sql:{place}", "-t", "C,,", "-n", name, "-i", str(certificate))
        steps.append(Step(str(place), f"Add the authority to {place}.", command))
    return steps, []


def _is_in_database(place: Path, name: str) -> bool:
    return _run(("certutil", "-L", "-d", f"sql:{place}", "-n", name))[0] == 0


def _run(command: Sequence[str]) -> tuple[int, str]:
    """The exit status of `command`, and what it wrote. It may ask at the terminal, as sudo does."""
    try:
        done = subprocess.run(
            list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_COMMAND_S, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"it has not ended after {_COMMAND_S:g} s"
    except OSError as error:
        return 1, error.strerror or str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()
