"""`duck cert`: the certificates that Duck keeps, and the authority of this machine for development."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings, setting_options
from duck.exceptions import CertificateError

if TYPE_CHECKING:
    from duck.services.certificates.local_authority import LocalAuthority
    from duck.services.certificates.store import Entry, Pair
    from duck.services.certificates.trust import Plan
    from duck.settings.load import Settings

_F = TypeVar("_F", bound=Callable[..., Any])

_COLOURS: Final = {"ok": "green", "warning": "yellow", "error": "red"}
_KINDS: Final = ("certificates", "local")
_COLUMNS: Final = ("name", "kind", "until", "due")
_WAIT_S: Final = 600.0


@click.group()
def cert() -> None:
    """Show, obtain, renew and trust certificates.

    `duck serve --domain` obtains and renews by itself; these commands look at what it does, and do it by hand.

    For example: duck cert doctor --domain example.org
    """


def _options(function: _F) -> _F:
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
    return click.option(
        "--state-dir", metavar="PATH", help="Where Duck keeps its state, as for `duck serve`; by default STATE_DIR."
    )(function)


@cert.command("list")
@_options
def list_(as_json: bool, state_dir: str | None) -> int:
    """Show every certificate in the state directory: its name, its kind, until when it is valid, and what is due.

    A name for which none could be obtained yet is among them.

    Returns 0, whether there are any or none.

    For example: duck cert list --json
    """
    from duck.services.certificates.store import CertificateStore

    state = _state(state_dir)
    found = []
    for kind in _KINDS:
        for entry in CertificateStore(state, kind).entries():
            pair = entry.pair()
            if pair is not None or entry.progress.failures:
                found.append(_described(entry, pair))
            if pair is None and entry.version() is not None:
                click.echo(f"What is in {entry.current} cannot be read, and counts as absent.", err=True)
    if as_json:
        click.echo(json.dumps({"certificates": found}, indent=2))
    elif not found:
        click.echo(f"There are no certificates in {state}.", err=True)
    else:
        rows = [_COLUMNS, *(tuple(one[key] for key in _COLUMNS) for one in found)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return OK


@cert.command()
@click.argument("name")
@_options
def show(name: str, as_json: bool, state_dir: str | None) -> int:
    """Show all that is known of the certificate for NAME.

    Returns 0, or 1 where there is none.

    For example: duck cert show example.org
    """
    from duck.services.certificates.store import CertificateStore

    state = _state(state_dir)
    entries = [CertificateStore(state, kind).entry(name) for kind in _KINDS]
    pairs = [(entry, entry.pair()) for entry in entries]
    found = [_described(entry, pair) for entry, pair in pairs if pair is not None or entry.progress.failures]
    if not found:
        raise CertificateError(
            f"There is no certificate for {name} in {state}; `duck cert list` shows those there are."
        )
    if as_json:
        click.echo(json.dumps(found[0], indent=2))
        return OK
    width = max(map(len, found[0]))
    for key, value in found[0].items():
        if value not in (None, "", []):
            text = ", ".join(value) if isinstance(value, list) else value
            click.echo(f"{key.replace('_', ' '):<{width}}  {text}")
    return OK


@cert.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Order anew, whether it is due or not; limits of the authority count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_options("serve")
def renew(names: tuple[str, ...], force: bool, as_json: bool, **given: Any) -> int:
    """Obtain or renew now what is due: of NAMEs, by default of all names of the settings (DOMAINS).

    A Duck that serves does so by itself, and takes over what this command obtains. Names are proved over port 80, which
    that Duck answers, or by ACME_DNS_HOOK. The options are those of `duck serve`. Returns 0 when every name has a
    certificate that is not due, else 1.

    For example: duck cert renew --domain example.org --agree-tos
    """
    from duck.net.certificate import in_utc
    from duck.services.certificates.due import wanted_names
    from duck.services.certificates.keeper import FAILED as KEEPER_FAILED
    from duck.services.certificates.keeper import IDLE, Keeper, as_values
    from duck.settings import views

    settings = load_settings(given, MODE="serve")
    view = views.certificates(settings)
    wanted = list(names) or wanted_names(view)
    if not wanted:
        raise CertificateError("There is no name to renew: give NAME, or --domain (DOMAINS).", kind="name")
    keeper = Keeper(_state_of(settings), view)
    outcomes = []
    for outcome in keeper.run(wanted, force=force, wait_s=_WAIT_S):
        outcomes.append(outcome)
        if as_json:
            continue
        if outcome.what == IDLE:
            click.echo(f"Nothing is due for {outcome.name} until {in_utc(outcome.next_at)}.")
        elif outcome.sentence:
            click.echo(outcome.sentence, err=outcome.what == KEEPER_FAILED)
        else:
            click.echo(
                f"Nothing is due for {outcome.name}: the authority was asked, and again {in_utc(outcome.next_at)}."
            )
    if as_json:
        click.echo(json.dumps({"outcomes": [as_values(outcome) for outcome in outcomes]}, indent=2))
    return FAILED if any(outcome.what == KEEPER_FAILED for outcome in outcomes) else OK


@cert.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--nameserver", metavar="ADDRESS", help="Ask this name server, address or address:port; by default the system's."
)
@click.option(
    "--challenge-port",
    type=click.IntRange(1, 65535),
    default=80,
    show_default=True,
    metavar="PORT",
    help="Where the authority looks; another one than 80 only for a private authority.",
)
@setting_options("serve")
def doctor(as_json: bool, nameserver: str | None, challenge_port: int, **given: Any) -> int:
    """Look at what would keep the certificates of the settings (DOMAINS) from being obtained, and order nothing.

    The names in the DNS, port 80, CAA records, the clock, the authority's limits, and what is kept already; each
    finding has its remedy. The options are those of `duck serve`. Returns 0 where nothing is wrong, warnings apart, and
    1 where something is.

    For example: duck cert doctor --domain example.org
    """
    from duck.app.certificate_checkup import CertificateCheckup
    from duck.app.finding import ERROR
    from duck.services.certificates.authority import Authority
    from duck.services.certificates.resolver import DnsResolver
    from duck.settings import views

    settings = load_settings(given, MODE="serve")
    view = views.certificates(settings)
    state = _state_of(settings)
    authority = Authority(state, view.directory, ca_file=view.ca_file)
    checkup = CertificateCheckup(state, view, DnsResolver(nameserver), authority.look, port=challenge_port)
    found = []
    try:
        for finding in checkup.findings():
            found.append(finding)
            if not as_json:
                level = f"{finding.level:<8}"
                if sys.stdout.isatty():
                    level = click.style(level, fg=_COLOURS[finding.level], bold=finding.level != "ok")
                click.echo(f"{level}{finding.topic}: {finding.sentence}")
                for line in finding.details:
                    click.echo(f"          {line}")
    finally:
        authority.close()
    is_well = not any(finding.level == ERROR for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "findings": [finding.as_values() for finding in found]}, indent=2))
    return OK if is_well else FAILED


@cert.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_options
def local(names: tuple[str, ...], as_json: bool, state_dir: str | None) -> int:
    """Make a certificate for development, and the authority of this machine that it is of; both stay where they are.

    NAMEs are localhost, names that end in .localhost or .test, private addresses, or this machine's name; by default
    localhost and its addresses. The authority can speak for no others, whoever has its key. `duck cert trust` makes
    browsers take it; `duck runserver --https` uses it by itself. Returns 0, or 1 for a name that it may not speak for.

    For example: duck cert local shop.test "*.shop.test" 192.168.1.7
    """
    from duck.net.certificate import in_utc
    from duck.services.certificates.local_authority import ALWAYS, LocalAuthority
    from duck.services.certificates.store import CertificateStore

    state = _state(state_dir)
    authority = LocalAuthority.find_or_make(state)
    pair = authority.leaf(names or ALWAYS)
    place = CertificateStore(state, "local").entry(pair.name).current
    if as_json:
        told = {
            "authority": str(authority.path),
            "chain": str(place / "chain.pem"),
            "key": str(place / "key.pem"),
            "names": list(pair.names),
            "until": pair.not_after.isoformat(),
        }
        click.echo(json.dumps(told, indent=2))
        return OK
    click.echo(f"Certificate  {place / 'chain.pem'}")
    click.echo(f"Key          {place / 'key.pem'}")
    click.echo(f"Names        {', '.join(pair.names)}")
    click.echo(f"Until        {in_utc(pair.not_after)}")
    click.echo(f"Authority    {authority.path} ({authority.name})")
    click.echo("\n`duck cert trust` makes this machine's browsers take it.")
    return OK


@cert.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@_options
def trust(dry_run: bool, as_json: bool, state_dir: str | None) -> int:
    """Have this machine trust its authority for development, which is made where there is none.

    The system's store (by sudo where that is root's), the keychain of macOS, or the user's store of Windows; and the
    databases of Firefox and Chromium, where certutil of NSS is installed. Each step is told before it is done. Returns
    0, or 1 where a step failed.

    For example: duck cert trust --dry-run
    """
    from duck.services.certificates.local_authority import LocalAuthority

    authority = LocalAuthority.find_or_make(_state(state_dir))
    return _change_trust(authority, removes=False, dry_run=dry_run, as_json=as_json)


@cert.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@_options
def untrust(dry_run: bool, as_json: bool, state_dir: str | None) -> int:
    """Take the authority for development out of every store that `duck cert trust` put it into.

    Its files stay in the state directory. Returns 0, or 1 where a step failed.

    For example: duck cert untrust
    """
    from duck.services.certificates.local_authority import LocalAuthority

    state = _state(state_dir)
    authority = LocalAuthority.find(state)
    if authority is None:
        raise CertificateError(f"There is no local authority in {state}, so none is trusted.")
    return _change_trust(authority, removes=True, dry_run=dry_run, as_json=as_json)


def _change_trust(authority: LocalAuthority, *, removes: bool, dry_run: bool, as_json: bool) -> int:
    from cryptography.hazmat.primitives.hashes import SHA1

    from duck.services.certificates.trust import DONE, Machine, carry_out, plan

    machine = Machine.this(home=Path.home(), is_root=getattr(os, "geteuid", lambda: 1)() == 0)
    sha1 = authority.certificate.fingerprint(SHA1()).hex()
    made = plan(machine, authority.path, authority.name, removes=removes, sha1=sha1)
    if not as_json:
        _show_plan(made, authority, removes=removes)
    results = []
    if not dry_run:
        for result in carry_out(made.steps):
            results.append(result)
            if not as_json:
                click.echo(f"{result.outcome:<9} {result.step.shown}")
                for line in result.said.splitlines():
                    click.echo(f"          {line}", err=True)
    failed = any(result.outcome != DONE for result in results)
    if as_json:
        outcomes = {id(result.step): result for result in results}
        steps = [
            {
                "store": step.store,
                "sentence": step.sentence,
                "command": list(step.command),
                "outcome": outcomes[id(step)].outcome if id(step) in outcomes else None,
                "said": outcomes[id(step)].said if id(step) in outcomes else "",
            }
            for step in made.steps
        ]
        click.echo(
            json.dumps({"authority": authority.name, "steps": steps, "omissions": list(made.omissions)}, indent=2)
        )
    elif failed:
        verb = "removed" if removes else "added"
        click.echo(f"duck: {authority.name} could not be {verb} everywhere; what failed is told above.", err=True)
    return FAILED if failed else OK


def _show_plan(made: Plan, authority: LocalAuthority, *, removes: bool) -> None:
    if not made.steps:
        click.echo(f"{authority.name} is in no store." if removes else "There is no store that can be changed.")
    for step in made.steps:
        click.echo(f"{step.sentence}\n  {step.shown}")
    for omission in made.omissions:
        click.echo(f"Left out: {omission}")
    if made.steps:
        click.echo("")
    sudo = os.environ.get("SUDO_USER")
    if sudo:
        click.echo(
            f"This is root's own authority, and not {sudo}'s: run it without sudo, which is asked for.", err=True
        )


# -- the state directory ----------------------------------------------------------------------------------------------


def _state(option: str | None) -> Path:
    return _state_of(load_settings({}, STATE_DIR=option))


def _state_of(settings: Settings) -> Path:
    from duck.services.state import state_directory

    return state_directory(settings["STATE_DIR"], project=settings.base_dir)


def _described(entry: Entry, pair: Pair | None) -> dict[str, Any]:
    from duck.net.certificate import in_utc

    progress = entry.progress
    found = {
        "name": entry.name,
        "kind": "none",
        "names": [],
        "from": "",
        "until": "",
        "due": _due(pair, entry),
        "failure": progress.error if progress.failures else "",
    }
    if pair is None:
        return found
    return found | {
        "kind": pair.kind,
        "names": list(pair.names),
        "from": in_utc(pair.not_before),
        "until": in_utc(pair.not_after),
        "issuer": pair.issuer,
        "serial": f"{pair.serial:x}",
        "fingerprint": pair.fingerprint,
        "directory": pair.about.get("directory"),
        "profile": pair.about.get("profile"),
        "chain": str(entry.current / "chain.pem"),
        "key": str(entry.current / "key.pem"),
    }


def _due(pair: Pair | None, entry: Entry) -> str:
    """What comes next for it, in words."""
    from duck.net.certificate import in_utc
    from duck.services.certificates import schedule
    from duck.services.certificates.due import remembered
    from duck.services.certificates.local_authority import LocalAuthority
    from duck.services.certificates.store import LOCAL, PUBLIC

    if pair is None:
        step = schedule.next_step(time.time(), None, remembered(entry, None))
        return f"ordered {in_utc(step.at)}" if step.what == schedule.WAIT else "ordered now"
    if pair.kind == LOCAL:
        return f"renewed {in_utc(LocalAuthority.renewal(pair))}, when it is used"
    progress = remembered(entry, pair if pair.kind == PUBLIC else None)
    term = pair.term if pair.kind == PUBLIC else None
    step = schedule.next_step(time.time(), term, progress)
    if step.what == schedule.WAIT:
        return f"looked at {in_utc(step.at)}"
    return "ordered now" if step.what == schedule.ORDER else "authority asked now"
