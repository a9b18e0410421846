"""What a project told of itself (`backend.django.survey`), judged: what a start would do with it, and what to mend."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from duck.app import premises
from duck.app.automation_premises import Place
from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.exceptions import CertificateError
from duck.services.certificates.names import canonical, is_allowed_host
from duck.settings import views

if TYPE_CHECKING:
    from pathlib import Path

    from duck.backend.django.survey import Survey, SurveyFailure
    from duck.services.privileges import Account
    from duck.settings.load import Settings

PARTS: Final = ("entry", "urls", "facts", "checks", "migrations", "static", "automations")
COST: Final = "cost"

_LISTED: Final = 5
_DJANGO_ERROR: Final = 40
_TIMES_UNDER_ASGI: Final = "about nine times"  # an empty synchronous view; docs/how-to/check.md


def judge(settings: Settings, survey: Survey, account: Account | None, root: Path) -> Iterator[Finding]:
    """The findings of each part, in the order of a start.

    Args:
        root: the project's directory.
    """
    yield from _failures(survey)
    parts = survey.parts
    facts = parts.get("facts")
    if facts is not None:
        yield Finding(OK, "settings module", f"{facts['settings']} was loaded, DEBUG {_on(facts['debug'])}.")
    if "entry" in parts:
        yield from _entry(parts["entry"])
    if "checks" in parts:
        yield from _checks(parts["checks"], serves=views.production(settings).serves)
    if "migrations" in parts:
        yield _migrations(settings, parts["migrations"])
    if facts is not None:
        yield from _static(settings, facts, parts.get("static"), account)
        yield from _exposure(settings, facts)
        yield from _proxies(settings, facts)
    if "automations" in parts:
        yield from automations(settings, parts["automations"], Place(root))
    yield from _cost(parts.get("entry"), parts.get("cost"))


def automations(settings: Settings, told: Mapping[str, Any] | None, place: Place) -> Iterator[Finding]:
    """What is wrong with declarations of scheduled work; nothing where there are none.

    Args:
        told: by the project; None where there is none.
        place: where they would run.
    """
    from duck.app.automation_declarations import read_all

    found = read_all(settings, told, place)
    for problem, traceback in zip_longest(found.problems, found.tracebacks, fillvalue=""):
        if problem:
            yield Finding(ERROR, "automations", problem, tuple(traceback.rstrip().splitlines()[-12:]))
    for warning in found.warnings:
        yield Finding(WARNING, "automations", warning)
    if found.declarations:
        count = len(found.declarations)
        yield Finding(OK, "automations", f"{count} automation{'s are' if count > 1 else ' is'} declared.")


def _failures(survey: Survey) -> Iterator[Finding]:
    told: set[str] = set()
    for failure in survey.failures:
        if failure.message not in told:  # a URLconf that cannot be imported fails every part that needs it
            told.add(failure.message)
            yield _failure(failure, survey.output)


def _failure(failure: SurveyFailure, output: str) -> Finding:
    what = {
        "settings": "The project cannot be loaded",
        "entry": "The WSGI or ASGI entry cannot be loaded",
        "urls": "The URLconf cannot be loaded",
        "facts": "The settings cannot be read",
        "checks": "The system checks cannot be run",
        "migrations": "Whether migrations are applied cannot be known",
        "static": "The static files cannot be looked through",
        "automations": "The automations cannot be looked at",
        "cost": "What a request costs cannot be measured",
    }.get(failure.part, "The project cannot be looked at")
    # A database that is down stops no start, and static files no page.
    level = WARNING if failure.part in ("migrations", "static", "cost") and not failure.is_hang else ERROR
    told = failure.traceback.rstrip().splitlines()[-12:]
    if failure.is_hang:
        stands = f"{failure.message} and is still at {failure.place}" if failure.place else failure.message
        sentence = f"{what}: {stands}; see to that line, or give it longer with --timeout."
    else:
        where = f" at {failure.place}" if failure.place else ""
        told = told or output.rstrip().splitlines()[-12:]
        sentence = f"{what}: {failure.message}; mend it{where}."
    return Finding(level, failure.part, sentence, tuple(told))


def _entry(entry: Mapping[str, Any]) -> Iterator[Finding]:
    server = f"{entry['server']}" if entry["server"] else ""
    if entry["protocol"] == "http":
        yield Finding(
            WARNING,
            "entry",
            f"All requests go through {entry['entry']} and {server}, since {entry['why']}; give the project"
            " a WSGI entry for its pages, if it can do without that.",
        )
    elif entry["sockets_wanted"]:
        sentence = f"Duck's worker serves {entry['entry']}, and {server} the WebSockets of {entry['asgi']}."
        yield Finding(OK, "entry", sentence)
    else:
        yield Finding(OK, "entry", f"Duck's worker serves {entry['entry']}; no WebSockets.")
    for sentence in entry["warnings"]:
        yield Finding(WARNING, "entry", sentence)


def _checks(checks: Mapping[str, Any], *, serves: bool) -> Iterator[Finding]:
    messages = checks["messages"]
    errors = [message for message in messages if message["level"] >= _DJANGO_ERROR]
    warnings = [message for message in messages if message["level"] < _DJANGO_ERROR]
    silenced = f", {checks['silenced']} silenced" if checks["silenced"] else ""
    if not messages:
        yield Finding(OK, "system checks", f"Django's checks found nothing{silenced}.")
    for level, found, word in ((ERROR, errors, "error"), (WARNING, warnings, "warning")):
        if found:
            number = f"{len(found)} {word}{'s' if len(found) > 1 else ''}"
            sentence = f"Django's checks found {number}{silenced}; mend what they name, or silence it."
            yield Finding(level, "system checks", sentence, tuple(_message(message) for message in found))
    # What has a finding of its own here: the key, DEBUG, the hosts, the redirect to HTTPS.
    own = ("security.W008", "security.W009", "security.W018", "security.W020")
    left = [name for name in checks["deployment"] if name not in own]
    if serves and left:
        sentence = f"`manage.py check --deploy` would name {len(left)} more: {', '.join(left)}."
        yield Finding(OK, "deployment checks", sentence)


def _message(message: Mapping[str, Any]) -> str:
    before = f"{message['object']}: " if message["object"] else ""
    name = f"({message['id']}) " if message["id"] else ""
    hint = f" Hint: {message['hint']}" if message["hint"] else ""
    return " ".join(f"{before}{name}{message['text']}{hint}".split())


def _migrations(settings: Settings, told: Mapping[str, Any]) -> Finding:
    unapplied = told["unapplied"]
    commands = [command[0] for command in views.django(settings).commands if command]
    if told["vendor"] is None:
        return Finding(OK, "migrations", "The project has no database.")
    if told.get("conflicts"):
        apps = ", ".join(told["conflicts"])
        sentence = f"Migrations of {apps} contradict each other; run `manage.py makemigrations --merge`."
        return Finding(ERROR, "migrations", sentence)
    if not unapplied:
        return Finding(OK, "migrations", "All migrations are applied.")
    if "migrate" in commands:
        sentence = f"DJANGO_COMMANDS_ON_STARTUP applies {_number(unapplied, 'migration')}."
        return Finding(OK, "migrations", sentence)
    what = _number(unapplied, "migration") + (" is" if len(unapplied) == 1 else " are")
    if told["missing_file"]:
        sentence = f"The database {told['missing_file']} is not there, so {what} not applied; run `manage.py migrate`."
    else:
        sentence = f"{what[0].upper()}{what[1:]} not applied; run `manage.py migrate`."
    return Finding(WARNING, "migrations", sentence, _some(unapplied))


def _static(
    settings: Settings, facts: Mapping[str, Any], looked: Mapping[str, Any] | None, account: Account | None
) -> Iterator[Finding]:
    static = facts["static"]
    root = static["root"]
    topic = "static files"
    if not static["installed"]:
        yield Finding(OK, topic, "django.contrib.staticfiles is not installed: no static files are served by Duck.")
    elif not views.files(settings).static:
        yield Finding(OK, topic, "SERVE_STATIC is off: what asks for static files goes to Django.")
    elif static["url"] is None:
        yield Finding(OK, topic, "STATIC_URL is no path of this server: static files come from elsewhere.")
    elif facts["debug"]:
        yield Finding(OK, topic, f"{static['url']} is answered from the finders, since DEBUG is on.")
    elif not root:
        sentence = f"STATIC_ROOT is not set, so {static['url']} goes to Django, which answers it only with a middleware"
        yield Finding(WARNING, topic, f"{sentence} like WhiteNoise; set STATIC_ROOT and run `manage.py collectstatic`.")
    elif not os.path.isdir(root):
        sentence = f"STATIC_ROOT is {root}, which is not there; run `manage.py collectstatic`."
        yield Finding(ERROR, topic, sentence)
    else:
        unreadable = premises.readable(account, {"STATIC_ROOT": root})
        yield from unreadable
        if not unreadable:
            yield _collected(root, looked or {"looked": 0})
    media = facts["media"]
    if views.files(settings).media and media["url"] and media["root"] and not media["served"]:
        yield Finding(OK, "media files", f"MEDIA_URL goes to Django: {media['why']}")
    elif views.files(settings).media and media["served"]:
        yield Finding(OK, "media files", f"{media['url']} is answered from {media['root']}.")
        if os.path.isdir(media["root"]):
            yield from premises.readable(account, {"MEDIA_ROOT": media["root"]})


def _collected(root: str, looked: Mapping[str, Any]) -> Finding:
    missing, changed = looked.get("missing", []), looked.get("changed", [])
    if missing or changed:
        parts = [f"{_number(missing, 'file')} missing"] if missing else []
        parts += [f"{_number(changed, 'file')} of another size"] if changed else []
        sentence = f"STATIC_ROOT is {root}, with {' and '.join(parts)}; run `manage.py collectstatic`."
        return Finding(WARNING, "static files", sentence, _some([*missing, *changed]))
    return Finding(OK, "static files", f"{root} holds all {looked['looked']} static files.")


def _exposure(settings: Settings, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """DEBUG, the secret key and the hosts."""
    view = views.production(settings)
    open_ones = [
        address for address in views.listening(settings).addresses if premises.is_reached_from_outside(address)
    ]
    if facts["debug"] and open_ones:
        where = ", ".join(address.url for address in open_ones)
        refused = view.serves and not view.allow_debug
        remedy = "set DEBUG = False, or listen on 127.0.0.1" + (", or say --allow-debug." if refused else ".")
        sentence = f"DEBUG is on and {where} is reached from other machines, to whom error pages show code; {remedy}"
        yield Finding(ERROR if refused else WARNING, "DEBUG", sentence)
    elif facts["debug"] and view.serves:
        yield Finding(WARNING, "DEBUG", "DEBUG is on: error pages show code, and each query is kept; turn it off.")
    if view.serves and facts["secret_key_is_weak"]:
        sentence = "SECRET_KEY is short, plain or the one that startproject made; sessions can be forged by who knows"
        yield Finding(WARNING, "SECRET_KEY", f"{sentence} it: give at least 50 random characters.")
    elif view.serves:
        yield Finding(OK, "SECRET_KEY", "SECRET_KEY is long and random.")
    hosts = facts["allowed_hosts"]
    if not hosts and not facts["debug"]:
        sentence = "ALLOWED_HOSTS is empty and DEBUG off, so every request is answered with 400; name the site's hosts."
        yield Finding(ERROR, "ALLOWED_HOSTS", sentence)
    elif view.serves and "*" in hosts:
        sentence = "ALLOWED_HOSTS has '*', so whatever a client calls the site is believed; name the site's hosts."
        yield Finding(WARNING, "ALLOWED_HOSTS", sentence)
    elif view.serves and (missing := _missing(settings, hosts)):
        sentence = (
            f"ALLOWED_HOSTS does not name {', '.join(missing)} of DOMAINS, so no certificate is ordered for that;"
        )
        yield Finding(ERROR, "ALLOWED_HOSTS", f"{sentence} add it there.")
    elif view.serves and settings["DOMAIN"] and not is_allowed_host(settings["DOMAIN"], hosts):
        sentence = f"DOMAIN is {settings['DOMAIN']}, which ALLOWED_HOSTS does not name; add it there."
        yield Finding(WARNING, "ALLOWED_HOSTS", sentence)
    elif hosts:
        yield Finding(OK, "ALLOWED_HOSTS", f"Hosts are {', '.join(hosts)}.")


def _proxies(settings: Settings, facts: Mapping[str, Any]) -> Iterator[Finding]:
    listening = views.listening(settings)
    trusted = listening.trusted_proxies
    serves = views.production(settings).serves
    inside = [address for address in listening.addresses if not premises.is_reached_from_outside(address)]
    if any(network in ("0.0.0.0/0", "::/0") for network in trusted):
        sentence = "TRUSTED_PROXIES has everybody in it, so every client may say who it is; name the balancers only."
        yield Finding(WARNING, "proxies", sentence)
    elif serves and not trusted and inside:
        by = "unix" if inside[0].scheme == "unix" else "127.0.0.1"
        sentence = (
            f"{inside[0].url} is reached from this machine alone and TRUSTED_PROXIES is empty: behind a balancer every"
            f" client would seem to be that, and no request to be https; set TRUSTED_PROXIES to {by}."
        )
        yield Finding(WARNING, "proxies", sentence)
    elif trusted:
        yield Finding(OK, "proxies", f"Forwarded fields of {', '.join(trusted)} are believed.")
    if facts["secure_ssl_redirect"] and not trusted:
        sentence = "SECURE_SSL_REDIRECT is on and nobody is trusted to say that a request came by https, so each one is"
        yield Finding(
            WARNING, "proxies", f"{sentence} redirected for ever; set TRUSTED_PROXIES to the balancer's address."
        )


def _cost(entry: Mapping[str, Any] | None, measured: Mapping[str, Any] | None) -> Iterator[Finding]:
    if measured is not None:
        times = measured["asgi_us"] / measured["wsgi_us"] if measured["wsgi_us"] else 0.0
        yield Finding(
            OK,
            "cost under ASGI",
            f"{measured['path']} ({measured['status']}) takes {measured['wsgi_us']:.0f} us of processor time through"
            f" Django's WSGI handler and {measured['asgi_us']:.0f} us through its ASGI handler, {times:.1f} times as"
            " much: a sketch, measured here within one process and without a server.",
        )
    elif entry is not None:
        all_asgi = entry["protocol"] == "http"
        does = "costs" if all_asgi else "would cost"
        yield Finding(
            OK,
            "cost under ASGI",
            f"Under ASGI a small synchronous view {does} {_TIMES_UNDER_ASGI} the processor time; `duck check --measure`"
            " asks this project for a page both ways.",
        )


def _missing(settings: Settings, allowed: list[str]) -> list[str]:
    """The names of DOMAINS that ALLOWED_HOSTS does not let pass; one that is none is told of elsewhere."""
    found = []
    for name in settings["DOMAINS"]:
        with contextlib.suppress(CertificateError):
            if not is_allowed_host(canonical(name), allowed):
                found.append(name)
    return found


def _number(items: list[str], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def _some(items: list[str]) -> tuple[str, ...]:
    more = [f"and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return (*items[:_LISTED], *more)


def _on(value: bool) -> str:
    return "on" if value else "off"
