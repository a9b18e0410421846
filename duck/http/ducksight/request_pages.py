"""The pages of recorded requests: what `report` tells, as HTML. Pure.

All of it came from clients and from the project, so all of it is escaped; and should that fail somewhere, the policy
that goes with the pages (`POLICY`) lets nothing run but the one script of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from duck.net.amounts import millis_text, size_text

PATH: Final = "/.duck/requests"

POLICY: Final = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'"
)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
STATUSES: Final = (("2", "2xx"), ("3", "3xx"), ("4", "4xx"), ("5", "5xx"), ("x", "failed"))

# Parts of the time in the order in which they pass: name, what it is.
PARTS: Final = (
    ("receive", "Receive", "until the request's body was there"),
    ("front", "Front", "Duck itself, its own views, and the way to Django and back"),
    ("wait", "Wait", "for a free Django thread, or for Django to start"),
    ("django", "Django", "views, middleware and all else that is not below"),
    ("database", "Database", "queries"),
    ("template", "Templates", "rendering"),
    ("send", "Send", "from the answer's head to its last byte"),
)

_JSON_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)'
)


def list_page(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any], count: int) -> str:
    """The last requests. `wanted` are the filters (see `inspection.is_wanted`), `count` how many are kept."""
    body = f"""
<header class="top"><h1>Requests</h1>{_filters(wanted)}</header>
<table class="requests" id="requests">
<thead><tr><th class="number">#</th><th>Time</th><th>Method</th><th>Path</th><th>Status</th><th>By</th>
<th class="number">Size</th><th class="number">Queries</th><th class="number">Took</th></tr></thead>
<tbody id="rows">{"".join(map(_row, rows))}</tbody>
</table>
{"" if rows else _nothing(wanted)}
<footer>The last {count} requests, and a quarter as many answered with files, are kept in memory and nowhere else.
Secrets are hidden. The same in a terminal: <code>duck requests</code></footer>"""
    return _page("Requests", body)


def request_page(told: Mapping[str, Any], curl: str, proof: str) -> str:
    """One request (`report.details`), and the command for curl.

    Args:
        proof: what the form that sends it again has to know.
    """
    number = told["id"]
    again = told["replay_of"]
    replay_of = f' <a class="tag" href="{PATH}/{again:d}">sent again, of {again:d}</a>' if again else ""
    cannot = told["cannot_repeat"]
    if cannot:
        actions = f'<p class="note">{escape(cannot)}</p>'
    else:
        actions = (
            f'<form method="post" action="{PATH}/{number:d}/replay"><input type="hidden" name="proof" '
            f'value="{escape(proof)}"><button>Send again</button></form>'
            '<button type="button" class="quiet" data-copies="curl" hidden>Copy as curl</button>'
        )
    error = f'<p class="error">{escape(told["error"])}</p>' if told["error"] else ""
    request, answer = told["request"], told["answer"]
    title = f"{told['method']} {told['target']}"
    curl_part = ""
    if curl:
        curl_part = (
            f'<section id="as-curl"><h2>As curl</h2><pre id="curl">{escape(curl)}</pre>'
            f"<p class=note>Secrets are hidden here; <code>duck requests --curl {number:d} --with-secrets</code>"
            " prints them.</p></section>"
        )
    body = f"""
<header class="top one"><p class="back"><a href="{PATH}">Requests</a> <span>#{number:d}</span>{replay_of}</p>
<h1><span class="method">{escape(told["method"])}</span> {escape(told["target"])}</h1>
<p class="facts">{_status(told)}{_facts(told)}</p>{error}
<div class="actions">{actions}</div>
<nav><a href="#timing">Timing</a><a href="#request">Request</a><a href="#answer">Answer</a>{
        '<a href="#as-curl">As curl</a>' if curl else ""
    }</nav></header>
<section id="timing"><h2>Timing</h2>{timing_bar(told["timing"])}</section>
<div class="sides">
<section id="request"><h2>Request</h2>{_fields(request["fields"])}{_body(request["body"])}</section>
<section id="answer"><h2>Answer</h2>{_fields(answer["fields"])}{_body(answer["body"])}</section>
</div>
{curl_part}
<footer>{_more(told)}</footer>"""
    return _page(title, body)


def timing_bar(timing: Mapping[str, float | None]) -> str:
    """The parts of the time as a bar, and as a table."""
    total = timing["total_ms"] or 0.0
    bar, rows, at = [], [], 0.0
    for name, title, meaning in PARTS:
        value = timing[f"{name}_ms"]
        if value is None:
            rows.append(_part(name, title, meaning, '<span class="soft">not measured</span>', ""))
            continue
        share = 100 * value / total if total else 0.0
        if share > 0:
            bar.append(f'<rect class="{name}" x="{at:.3f}%" width="{share:.3f}%" height="100%"/>')
            at += share
        rows.append(_part(name, title, meaning, millis_text(value), f"{share:.0f} %"))
    said = ", ".join(
        f"{title} {millis_text(timing[f'{name}_ms'] or 0.0)}" for name, title, _ in PARTS if timing[f"{name}_ms"]
    )
    return (
        f'<svg class="bar" role="img" aria-label="{escape(said)}">{"".join(bar)}</svg>'
        f'<table class="timing">{"".join(rows)}<tr class="total"><td></td><th>All</th>'
        f'<td class="number">{millis_text(total)}</td><td></td><td></td></tr></table>'
    )


def _part(name: str, title: str, meaning: str, value: str, share: str) -> str:
    return (
        f'<tr><td><svg class="key"><rect class="{name}" width="100%" height="100%"/></svg></td><th>{title}</th>'
        f'<td class="number">{value}</td><td class="number soft">{share}</td><td class="soft">{meaning}</td></tr>'
    )


# -- the list -----------------------------------------------------------------------------------------------------


def _filters(wanted: Mapping[str, Any]) -> str:
    def options(name: str, choices: Iterable[tuple[str, str]], everything: str) -> str:
        chosen = wanted.get(name, "")
        found = "".join(
            f'<option value="{value}"{" selected" if value == chosen else ""}>{text}</option>'
            for value, text in choices
        )
        return f'<select name="{name}" aria-label="{name}"><option value="">{everything}</option>{found}</select>'

    files = " checked" if wanted.get("files") else ""
    return (
        f'<form class="filters" method="get" action="{PATH}">'
        f'<input type="search" name="path" placeholder="part of a path" aria-label="path" '
        f'value="{escape(str(wanted.get("path", "")))}">'
        f"{options('method', [(one, one) for one in METHODS], 'any method')}"
        f"{options('status', STATUSES, 'any status')}"
        f'<label><input type="checkbox" name="files" value="1"{files}> files</label>'
        "<button>Filter</button></form>"
    )


def _row(row: Mapping[str, Any]) -> str:
    number = row["id"]
    again = '<span class="tag">again</span>' if row["replay_of"] else ""
    queries = "" if row["queries"] is None else f"{row['queries']:d} in {millis_text(row['database_ms'])}"
    if row["queries"] == 0:
        queries = "0"
    lasts = row["state"] in ("waiting", "answering", "open")
    return (
        f'<tr><td class="number soft">{number:d}</td><td class="soft">{_clock(row["time"])}</td>'
        f'<td class="method">{escape(row["method"])}</td>'
        f'<td class="path"><a href="{PATH}/{number:d}">{escape(row["target"])}</a>{again}</td>'
        f'<td>{_status(row)}</td><td class="soft">{escape(row["answered_by"])}</td>'
        f'<td class="number">{size_text(row["sent_bytes"])}</td><td class="number">{queries}</td>'
        f'<td class="number{" soft" if lasts else ""}">{millis_text(row["duration_ms"])}</td></tr>'
    )


def _nothing(wanted: Mapping[str, Any]) -> str:
    if any(wanted.values()):
        return f'<p class="nothing">No request is like that. <a href="{PATH}">Show all.</a></p>'
    return '<p class="nothing">No request yet. Load a page of your project, and it is here.</p>'


# -- one request --------------------------------------------------------------------------------------------------


def _facts(told: Mapping[str, Any]) -> str:
    facts = [
        millis_text(told["duration_ms"]),
        size_text(told["sent_bytes"]),
        told["type"],
        f"by {told['answered_by']}",
    ]
    if told["queries"] is not None:
        facts.append(f"{told['queries']} quer{'y' if told['queries'] == 1 else 'ies'}")
    return "".join(f"<span>{escape(str(fact))}</span>" for fact in facts if fact)


def _more(told: Mapping[str, Any]) -> str:
    facts = [
        told["time"],
        f"from {told['client'] or 'a Unix socket'}",
        f"{told['version']} over {told['scheme']} to {told['host']}",
        f"request id {told['request_id']}" if told["request_id"] else "",
    ]
    return " · ".join(escape(str(fact)) for fact in facts if fact)


def _fields(fields: Sequence[Sequence[str]]) -> str:
    if not fields:
        return '<p class="note">There is none yet.</p>'
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in fields)
    return f'<table class="fields">{rows}</table>'


def _body(body: Mapping[str, Any]) -> str:
    kind = body["kind"]
    if kind == "none":
        return '<p class="note">No body.</p>'
    facts = [body["type"], size_text(body["size"]), f"{body['coding']}, undone here" if body["coding"] else ""]
    shown = f"<h3>Body <small>{escape(' · '.join(fact for fact in facts if fact))}</small></h3>"
    if kind == "form":
        shown += _fields(body["fields"])
    elif kind == "json":
        shown += f'<pre class="body">{_highlighted(body["text"])}</pre>'
    elif body["text"]:
        shown += f'<pre class="body">{escape(body["text"])}</pre>'
    return shown + (f'<p class="note">{escape(body["note"])}</p>' if body["note"] else "")


def _highlighted(text: str) -> str:
    """JSON with its tokens marked."""
    parts, at = [], 0
    for match in _JSON_TOKEN.finditer(text):
        parts.append(escape(text[at : match.start()]))
        parts.append(f'<span class="{match.lastgroup}">{escape(match[0])}</span>')
        at = match.end()
    parts.append(escape(text[at:]))
    return "".join(parts)


# -- small things -------------------------------------------------------------------------------------------------


def _status(row: Mapping[str, Any]) -> str:
    status, state = row["status"], row["state"]
    if status is None:
        return f'<span class="status {"failed" if state == "cut" else "under-way"}">{escape(state)}</span>'
    kind = "failed" if state == "cut" else f"s{status // 100}"
    more = "" if state == "done" else f" {state}"
    return f'<span class="status {kind}">{status:d}{escape(more)}</span>'


def _clock(stamp: str) -> str:
    """The time of day where Duck runs, which is where its developer is."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title[:120])} · Duck</title>"
        f'<link rel="stylesheet" href="{PATH}/page.css"><script defer src="{PATH}/page.js"></script></head>\n'
        f"<body><main>{body}\n</main></body></html>\n"
    )
