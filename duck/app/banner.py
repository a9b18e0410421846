"""What Duck says when it starts: facts in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from duck.logs import paint

_TITLE, _LINK, _DIM, _YELLOW = "1;33", "36", "2", "33"
_MOST_MS: Final = 10_000  # what takes longer is told in seconds


@dataclass(frozen=True)
class BannerFacts:
    """What is known at the moment the addresses are bound, which is before Django is ready.

    Attributes:
        addresses: URLs as a browser takes them, or `unix:/path`.
        django: how Django is reached: `starting` while its process loads, the address of one that runs already, or ``
            for none.
        project: directory of the Django project.
        python: path of the interpreter that runs Django, and why that one.
        django_version: of that interpreter.
        duck_side: what Duck itself answers in a Duck project; empty outside one.
        frontend: the front-end server beside Django, as words; empty for none.
        reload: what is watched, as words; empty for nothing.
        processes: role and process id.
        workers: front workers and Django processes with their threads, and what they may cost a database, as words.
        admin: where health and figures are answered.
        reload_command: whether `duck reload` brings up new code.
        prefix: path under which all of Django lives.
        network: URLs for other devices, where they are wanted; None where not.
        https: how HTTPS is served, as words; empty for a way of listening that has none to tell.
        requests: URL of the page that shows the last requests; empty where none are kept.
        keys: whether keys are taken at the console.
        warnings: sentences of the settings.
    """

    version: str
    addresses: Sequence[str]
    django: str = ""
    project: str = ""
    settings_module: str = ""
    python: str = ""
    python_origin: str = ""
    python_version: str = ""
    django_version: str = ""
    duck_side: str = ""
    frontend: str = ""
    reload: str = ""
    prefix: str = ""
    processes: Sequence[tuple[str, int]] = ()
    workers: str = ""
    admin: str = ""
    reload_command: bool = False
    network: Sequence[str] | None = None
    https: str = ""
    requests: str = ""
    keys: bool = False
    warnings: Sequence[str] = ()


def banner(facts: BannerFacts, *, colour: bool = False) -> str:
    """The text for the console, without a final newline; nothing in it claims what is not so yet."""
    first, *others = [_opened(address, facts.prefix, colour) for address in facts.addresses]
    name = f"Duck {facts.version}"
    lines = [f"{paint(name, _TITLE, colour)} listens at {first}"]
    lines += [f"{'':>{len(name) + len(' listens at ')}}{address}" for address in others]
    rows: list[tuple[str, str]] = []
    if facts.network is not None:
        opened = ", ".join(_opened(address, facts.prefix, colour) for address in facts.network)
        rows.append(("Network", opened or "this machine is in none that others could reach it by"))
    if facts.https:
        rows.append(("HTTPS", facts.https))
    if facts.duck_side:
        rows.append(("Duck", facts.duck_side))
    rows += _django_rows(facts)
    if facts.frontend:
        rows.append(("Front end", facts.frontend))
    if facts.workers:
        rows.append(("Workers", facts.workers))
    if facts.admin:
        rows.append(("Health", facts.admin))
    if facts.reload:
        rows.append(("Reload", facts.reload))
    elif facts.reload_command:
        rows.append(("Reload", "`duck reload`, or SIGHUP"))
    if facts.requests:
        rows.append(("Requests", paint(facts.requests, _LINK, colour)))
    if facts.processes:
        rows.append(("Processes", ", ".join(f"{role} {pid}" for role, pid in facts.processes)))
    if facts.keys:
        rows.append(("Keys", "r reload, o open, m migrate, c clear, h help, q quit"))
    rows.append(("Stop", "Ctrl-C here, or `duck stop` from elsewhere"))
    width = max(len(name) for name, _ in rows)
    lines += [f"  {paint(f'{name:<{width}}', _DIM, colour)}  {text}" for name, text in rows]
    lines += [f"{paint('Warning:', _YELLOW, colour)} {sentence}" for sentence in facts.warnings]
    return "\n".join(lines)


def _opened(address: str, prefix: str, colour: bool) -> str:
    """`address` as a browser opens it."""
    return paint(f"{address}{prefix}/", _LINK, colour) if "://" in address else address


def refused_in_network(facts: Mapping[str, Any], hosts: Sequence[str]) -> str:
    """One sentence where Django, which has told `facts`, answers 400 to who asks by one of the addresses `hosts`."""
    allowed = [str(host) for host in facts.get("allowed_hosts") or ()]
    refused = [host for host in hosts if host not in allowed and "*" not in allowed]
    if not refused:
        return ""
    return (
        f"Other devices are answered 400 at {' and '.join(refused)}, since ALLOWED_HOSTS in"
        f" {facts.get('settings') or 'the settings'} does not name {'them' if len(refused) > 1 else 'it'};"
        " add what is missing there, or '*' while DEBUG is on."
    )


def ready_line(facts: Mapping[str, Any], took_s: float, pids: Sequence[int] = ()) -> str:
    """One line for Django's readiness, from what its process reported (the `ready` event)."""
    parts = [str(facts.get("settings") or "settings of its own")]
    if facts.get("debug"):
        parts.append("DEBUG on")
    static = facts.get("static") or {}
    if static.get("installed") and static.get("url"):
        parts.append(_static(static, facts.get("debug")))
    media = facts.get("media") or {}
    if media.get("served") and media.get("url"):
        parts.append(f"media {media['url']} from {media.get('root')}")
    if facts.get("sockets_wanted"):
        server = facts.get("asgi_server")
        parts.append(f"WebSockets by {server}" if server else "WebSockets by an ASGI process")
    process = f" in process{'es' if len(pids) > 1 else ''} {' and '.join(map(str, pids))}" if pids else ""
    ms = round(took_s * 1000)
    took = f"{ms} ms" if ms < _MOST_MS else f"{took_s:.1f} s"
    return f"Django {facts.get('django', '?')} is ready after {took}{process}: {', '.join(parts)}"


def redirects_to_nowhere(facts: Mapping[str, Any]) -> str:
    """One sentence on a project that sends plain HTTP to HTTPS, which is not served."""
    return (
        f"SECURE_SSL_REDIRECT is on in {facts.get('settings') or 'the settings'}, and HTTPS is not served here: each"
        " page redirects to an address that nobody answers. Start with `duck runserver --https`, or turn it off for"
        " development."
    )


def _static(static: Mapping[str, Any], debug: object) -> str:
    url, root = static["url"], static.get("root")
    if debug and static.get("finders"):
        return f"static {url} from finders"
    if not root:
        return f"no static files at {url} (DEBUG is off and STATIC_ROOT is not set)"
    if not static.get("collected", True):
        return f"no static files at {url} until `manage.py collectstatic` has made {root}"
    return f"static {url} from {root}"


def _django_rows(facts: BannerFacts) -> list[tuple[str, str]]:
    if not facts.django:
        return []
    if facts.django != "starting":
        what = "all URLs that are not Duck's" if facts.duck_side else "all URLs"
        return [("Django", f"{what} go to {facts.django}, which Duck neither starts nor stops")]
    version = f" {facts.django_version}" if facts.django_version else ""
    settings = f" with {facts.settings_module}" if facts.settings_module else ""
    what = "all other URLs" if facts.duck_side else "all URLs"
    rows = [("Django", f"{what}; Django{version} is loading {facts.project}{settings}")]
    if facts.python:
        version = f" {facts.python_version}" if facts.python_version else ""
        why = f" ({facts.python_origin})" if facts.python_origin else ""
        rows.append(("Python", f"{facts.python}{version}{why}"))
    return rows
