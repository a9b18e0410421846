"""`duck top`: `duck status`, live."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import click

from duck.cli.instances import base_of, find_instances, none_runs, which
from duck.cli.main import NOT_RUNNING, OK
from duck.cli.processes import memory, table, uptime

if TYPE_CHECKING:
    from duck.services.instance import InstanceInfo

Report = Mapping[str, Any]

_ANSWER_S: Final = 2.0
_LIVE: Final = ("cpu_s",)  # how fast it grows is shown instead


@click.command()
@which
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it is asked.",
)
@click.option("--once", is_flag=True, help="Print one interval and end; so it is where standard output is no terminal.")
def top(directory: str | None, name: str | None, everywhere: bool, as_json: bool, interval: float, once: bool) -> int:
    """Show the processes of the Duck that runs for this directory, live.

    Ends by q or Ctrl-C, and stays while the Duck is started again. Returns 3 where none runs.

    For example: duck top --once --json
    """
    before = _ask(directory, name, everywhere)
    if not before:
        if as_json:
            click.echo(json.dumps({"instances": []}, indent=2))
        else:
            click.echo(none_runs(directory, name, everywhere), err=True)
        return NOT_RUNNING
    if as_json or once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        time.sleep(interval)
        now = _ask(directory, name, everywhere)
        reports = [with_rates(report, _same(report, before)) for report in now]
        if as_json:
            click.echo(json.dumps({"instances": reports}, indent=2))
        else:
            click.echo("\n\n".join("\n".join(lines(report)) for report in reports))
        return OK if reports else NOT_RUNNING
    with suppress(KeyboardInterrupt), _screen() as screen:
        shown = [with_rates(report, None) for report in before]
        while True:
            screen.show(shown)
            if screen.waits(interval):
                break
            now = _ask(directory, name, everywhere)
            if now:
                shown = [with_rates(report, _same(report, before)) for report in now]
                before = now
            else:
                shown = [{**report, "state": "gone; waiting for another one", "processes": []} for report in shown]
    return OK


def with_rates(now: Report, before: Report | None) -> dict[str, Any]:
    """`now`, each process with `requests_per_s` and `cpu_percent` since `before`, and all of it with their sums.

    A process that was not there before, or whose number is another's by now, has none yet; nor has an answer that was
    given in the same instant.
    """
    earlier = {(process["role"], process["pid"]): process for process in (before or {}).get("processes", ())}
    elapsed = now.get("asked", 0.0) - (before or {}).get("asked", 0.0) if before is not None else 0.0
    processes = []
    for process in now.get("processes", ()):
        was = earlier.get((process["role"], process["pid"]))
        rates = {}
        if was is not None and elapsed > 0 and process.get("uptime_s", 0) >= was.get("uptime_s", 0):
            for key, rate, factor in (("requests", "requests_per_s", 1), ("cpu_s", "cpu_percent", 100)):
                if key in process and key in was:
                    rates[rate] = round(max(0.0, process[key] - was[key]) / elapsed * factor, 1)
        processes.append({**process, **rates})
    return {**now, "processes": processes}


def lines(report: Report) -> list[str]:
    """A report as somebody watches it: what it is, its sums, its processes."""
    processes = report.get("processes", [])
    title = [str(report["project"])]
    if report.get("name", "default") != "default":
        title.append(f"({report['name']})")
    title += [", ".join(report.get("addresses", ())), str(report.get("state", ""))]
    if "uptime_s" in report and processes:
        title.append(f"up {uptime(report['uptime_s'])}")
    told = ["  ".join(part for part in title if part)]
    if not processes:
        return told
    sums = {key: sum(process.get(key) or 0 for process in processes) for key in ("cpu_percent", "memory_bytes")}
    front = [process for process in processes if process["role"] == "front"] or processes[:1]
    # The App's own count is the sum over its front workers: the same requests.
    connections = sum(process.get("connections") or 0 for process in front)
    figures = [
        f"{sum(process.get('requests_per_s', 0.0) for process in front):.1f} requests/s",
        f"CPU {sums['cpu_percent']:.0f} %",
        f"memory {memory(sums['memory_bytes'])}",
        f"{connections} connection{'s' if connections != 1 else ''}",
    ]
    for key, text in (("in_flight", "in flight"), ("waiting", "queued")):
        if any(key in process for process in front):
            figures.append(f"{sum(process.get(key) or 0 for process in front)} {text}")
    django = report.get("django") or {}
    if django.get("generation") is not None:
        figures.append(f"generation {django['generation']}")
    automations = report.get("automations") or {}
    if automations.get("automations") is not None:
        running, coming = len(automations.get("running") or ()), automations.get("next")
        figures.append(
            f"automations: {automations['automations']}, {running} running{f', next {coming}' if coming else ''}"
        )
        if automations.get("claims") is False:
            figures.append(f"no automation starts: the clock is {automations['clock_ahead_s']:+.0f} s off the store's")
    restarts = sum((each or {}).get("restarts") or 0 for each in (django, report.get("front"), automations))
    if restarts:
        figures.append(f"{restarts} restart{'s' if restarts != 1 else ''}")
    return [*told, ", ".join(figures), "", *table(processes, without=_LIVE)]


def _ask(directory: str | None, name: str | None, everywhere: bool) -> list[dict[str, Any]]:
    """What each of them tells now; `asked` is when, by a clock that only goes on."""
    from duck.services.ipc import ControlError, NotRunning, call

    def one(instance: InstanceInfo) -> dict[str, Any]:
        try:
            told = call(instance.control, "status", deadline_s=_ANSWER_S)
        except NotRunning:
            told = {"state": "starting or stopping"}
        except ControlError as error:
            told = {"state": f"silent: {error}"}
        return {**base_of(instance), **told, "asked": time.monotonic()}

    return [one(instance) for instance in find_instances(directory, name, everywhere)]


def _same(report: Report, before: list[dict[str, Any]]) -> Report | None:
    return next((other for other in before if other["pid"] == report["pid"]), None)


class _Screen:
    """The terminal while it is ours: one picture after the other, and the keys that are typed."""

    def show(self, reports: list[dict[str, Any]]) -> None:
        """Draw `reports` in place of what was there; what does not fit is cut."""
        width, height = shutil.get_terminal_size()
        text = [line for report in reports for line in [*lines(report), ""]]
        text = [*text[: height - 1], "q ends"][:height] if len(text) >= height else [*text, "q ends"]
        drawn = [line[:width] for line in text]
        for index, line in enumerate(drawn):
            if line.startswith("role "):
                drawn[index] = click.style(line, bold=True)
        drawn[-1] = click.style(drawn[-1], dim=True)
        # From the corner, line by line, each cleared behind its text: clearing all first would flicker.
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in drawn[:-1]) + drawn[-1] + "\x1b[K\x1b[J")
        sys.stdout.flush()

    def waits(self, seconds: float) -> bool:
        """Wait so long for a key; whether it was one that ends."""
        import os
        import select

        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left)[0]:
                typed = os.read(sys.stdin.fileno(), 64)
                if not typed or b"q" in typed.lower() or b"\x03" in typed:
                    return True
        return False


@contextmanager
def _screen() -> Iterator[_Screen]:
    """The terminal's other screen, without echo and cursor; given back however it ends."""
    import signal
    import termios
    import tty

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    descriptor = sys.stdin.fileno()
    was = termios.tcgetattr(descriptor)
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
        tty.setcbreak(descriptor)
        sys.stdout.write("\x1b[?1049h\x1b[?25l\x1b[2J")
        yield _Screen()
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, was)
