"""`duck requests`: the last requests of the Duck that runs here, as its inspector has them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from duck.cli.instances import find_instances, none_runs
from duck.cli.main import NOT_RUNNING, OK
from duck.exceptions import ApplicationError
from duck.net.amounts import millis_text, size_text

if TYPE_CHECKING:
    from duck.services.instance import InstanceInfo

_ANSWER_S: Final = 10.0
_REPLAY_S: Final = 70.0
_LOOK_S: Final = 0.3

# What comes from a client may not speak to a terminal; nor turn the direction of a line.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BAR: Final = 40


@click.command()
@click.argument("number", metavar="[ID]", required=False, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --follow one object on each line.")
@click.option("--follow", "-f", is_flag=True, help="Go on with those that come, each as it ends, until Ctrl-C.")
@click.option("--replay", metavar="ID", type=click.IntRange(min=1), help="Send this one again, and show what came.")
@click.option("--curl", metavar="ID", type=click.IntRange(min=1), help="Print this one as a command for curl.")
@click.option("--url", is_flag=True, help="Print the address of the page that shows them, for a browser.")
@click.option("--with-secrets", is_flag=True, help="With --curl: print cookies, passwords and tokens as they came.")
@click.option("--files", is_flag=True, help="Those answered with static and media files, too.")
@click.option("--path", "part", metavar="TEXT", default="", help="Those with this in their path or query.")
@click.option("--method", metavar="METHOD", default="", help="Those with this method.")
@click.option(
    "--status",
    metavar="STATUS",
    default="",
    help="Those with this status; 5 for 500 and above, x for what failed.",
)
@click.option("--limit", default=25, show_default=True, metavar="N", help="At most so many, the last ones.")
@click.option("--name", metavar="NAME", help="Of the Duck that was started with this --name.")
@click.option(
    "--directory", metavar="PATH", type=click.Path(exists=True, file_okay=False), help="Of the Duck of this directory."
)
def requests(
    number: int | None,
    as_json: bool,
    follow: bool,
    replay: int | None,
    curl: int | None,
    url: bool,
    with_secrets: bool,
    files: bool,
    part: str,
    method: str,
    status: str,
    limit: int,
    name: str | None,
    directory: str | None,
) -> int:
    """Show the last requests, or with an ID all of one: fields, bodies, and where its time went.

    Of the `duck runserver` of this directory while its project's DEBUG is on. Cookies, passwords and tokens are hidden.
    Returns 3 where no Duck runs.

    For example: duck requests --follow --path /api/
    """
    if sum(given for given in (number is not None, follow, replay is not None, curl is not None, url)) > 1:
        raise click.UsageError("Give one of ID, --follow, --replay, --curl and --url.")
    if with_secrets and curl is None:
        raise click.UsageError("--with-secrets is for --curl alone.")
    wanted = {"files": files, "path": part, "method": method, "status": status}
    instance = _find(directory, name)
    if instance is None:
        if as_json:
            click.echo(json.dumps({"error": none_runs(directory, name, False)}))
        else:
            click.echo(none_runs(directory, name, False), err=True)
        return NOT_RUNNING
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(instance, directory, name, wanted, as_json=as_json)
    elif url:
        told = _ask(instance, {"do": "url"})
        click.echo(json.dumps(told, indent=2) if as_json else told["url"])
    elif curl is not None:
        told = _ask(instance, {"do": "curl", "id": curl, "secrets": with_secrets})
        click.echo(json.dumps({"curl": told["curl"]}, indent=2) if as_json else told["curl"])
    elif replay is not None:
        told = _ask(instance, {"do": "replay", "id": replay}, _REPLAY_S)
        click.echo(json.dumps(told, indent=2) if as_json else "\n".join(table([told])))
    elif number is not None:
        told = _ask(instance, {"do": "show", "id": number})
        click.echo(json.dumps(told, indent=2) if as_json else "\n".join(one(told)))
    else:
        rows = _ask(instance, {"do": "list", "limit": limit, **wanted})["requests"][::-1]
        if as_json:
            click.echo(json.dumps({"requests": rows}, indent=2))
        elif rows:
            click.echo("\n".join(table(rows)))
        else:
            click.echo("No request is like that." if any(wanted.values()) else "No request yet.", err=True)
    return OK


# -- asking -------------------------------------------------------------------------------------------------------


def _find(directory: str | None, name: str | None) -> InstanceInfo | None:
    found = find_instances(directory, name, False)
    if len(found) > 1:
        listed = ", ".join(f"{instance.name} (process id {instance.pid})" for instance in found)
        raise ApplicationError(f"Several run here: {listed}; choose one with --name or --directory.")
    return found[0] if found else None


def _ask(instance: InstanceInfo, question: Mapping[str, Any], deadline_s: float = _ANSWER_S) -> dict[str, Any]:
    from duck.services.ipc import call

    told = call(instance.control, "requests", deadline_s=deadline_s, **question)
    told.pop("run", None)
    return told


def _follow(
    instance: InstanceInfo, directory: str | None, name: str | None, wanted: Mapping[str, Any], *, as_json: bool
) -> None:
    """Tell of each request as it ends; stays while Duck is started again."""
    from duck.services.ipc import NotRunning, call

    run, after, told_of, is_first = None, 0, set[int](), True
    while True:
        try:
            told = call(instance.control, "requests", deadline_s=_ANSWER_S, do="list", after=after, **wanted)
        except NotRunning:
            time.sleep(_LOOK_S)
            instance = _find(directory, name) or instance
            continue
        rows = told["requests"][::-1]
        if told["run"] != run:
            if run is None:
                # What was before is history.
                after, told_of = max((row["id"] for row in rows if _is_over(row)), default=0), set()
            else:
                after, told_of = 0, set()
            run = told["run"]
        for row in rows:
            if _is_over(row) and row["id"] > after and row["id"] not in told_of:
                told_of.add(row["id"])
                if as_json:
                    click.echo(json.dumps(row))
                else:
                    lines = table([row], fixed=True)
                    click.echo("\n".join(lines if is_first else lines[1:]))
                    is_first = False
        under_way = [row["id"] for row in rows if not _is_over(row)]
        after = max(after, min(under_way) - 1 if under_way else max((row["id"] for row in rows), default=0))
        told_of = {number for number in told_of if number > after}
        time.sleep(_LOOK_S)


def _is_over(row: Mapping[str, Any]) -> bool:
    return row["state"] in ("done", "cut", "closed")


# -- showing ------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Mapping[str, Any]], *, fixed: bool = False) -> list[str]:
    """Titles, and a line for each request; `fixed`: in columns as wide as those of any other table."""
    cells: list[tuple[str, ...]] = [("id", "time", "status", "took", "queries", "size", "by", "request")]
    cells += [_cells(row) for row in rows]
    least = (4, 8, 6, 8, 14, 8, 8, 0) if fixed else (0,) * 8
    widths = [max(least[index], *(len(line[index]) for line in cells)) for index in range(8)]
    right = (True, False, False, True, True, True, False, False)
    return [
        "  ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    queries = ""
    if row["queries"] is not None:
        queries = f"{row['queries']} in {millis_text(row['database_ms'])}" if row["queries"] else "0"
    status = str(row["status"] or "") if row["state"] == "done" else f"{row['status'] or ''} {row['state']}".strip()
    again = f"  (again, of {row['replay_of']})" if row["replay_of"] else ""
    return (
        str(row["id"]),
        datetime.fromisoformat(row["time"]).astimezone().strftime("%H:%M:%S"),
        status,
        millis_text(row["duration_ms"]),
        queries,
        size_text(row["sent_bytes"]),
        printable(row["answered_by"]),
        f"{printable(row['method'])} {printable(row['target'])}{again}",
    )


def one(told: Mapping[str, Any]) -> list[str]:
    """All of one request."""
    lines = [*table([told]), ""]
    if told["error"]:
        lines += [printable(told["error"]), ""]
    client = told["client"] or "a Unix socket"
    lines += [
        f"{told['version']} over {told['scheme']} to {printable(told['host'])}, from {client},"
        f" request id {told['request_id'] or '-'}",
        "",
        *_timing(told["timing"]),
        "",
        "Request",
        *_part(told["request"]),
        "",
        "Answer",
        *_part(told["answer"]),
    ]
    if told["cannot_repeat"]:
        lines += ["", told["cannot_repeat"]]
    return lines


def _timing(timing: Mapping[str, float | None]) -> Iterator[str]:
    total = timing["total_ms"] or 0.0
    for name in ("receive", "front", "wait", "django", "database", "template", "send"):
        value = timing[f"{name}_ms"]
        if value is None:
            yield f"  {name:<9} {'not measured':>12}"
        else:
            bar = "#" * round(_BAR * value / total) if total else ""
            yield f"  {name:<9} {millis_text(value):>12}  {bar}".rstrip()
    yield f"  {'total':<9} {millis_text(total):>12}"


def _part(part: Mapping[str, Any]) -> Iterator[str]:
    for name, value in part["fields"]:
        yield f"  {printable(name)}: {printable(value)}"
    body = part["body"]
    if body["kind"] == "none":
        return
    yield ""
    for name, value in body["fields"]:
        yield f"  {printable(name)} = {printable(value)}"
    for line in printable(body["text"]).splitlines():
        yield f"  {line}"
    if body["note"]:
        yield f"  {body['note']}"


def printable(text: str) -> str:
    """`text` without what a terminal would obey."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
