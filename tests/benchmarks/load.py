"""Requests from outside: wrk where it is installed, else a generator of our own in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.servers import Failed, Missing

# What a browser sends for a page of a Django site: twelve fields, about 700 bytes, `Host` aside.
BROWSER_FIELDS = {
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Referer": "http://localhost:8000/catalogue/items?page=2&order=name",
    "Accept-Encoding": "gzip, deflate",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cookie": "csrftoken=Zk3vJwq0cT8m1nYx5bR7uE2hLsGd9aPf; sessionid=4x8r1k0m2v6t9y3w5q7z1c4b8n0p2d6f",
}

# wrk's own report rounds; its `done` hook has the numbers.
WRK_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "seconds": %.6f, "p50_us": %.1f, "p99_us": %.1f, "errors": %d}\\n',
    summary.requests, summary.duration / 1000000, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
# One request after the other, each with a number of its own in it.
WRK_VARIED = """
local number = 100000000
request = function()
  number = number + 1
  return %s .. number .. %s
end
"""
SESSION = "sessionid="
H2_TARGETS = 20_000


@dataclass(frozen=True)
class Load:
    """What is asked, by how many connections at once.

    Attributes:
        varied: no two requests have the same fields: each is of another session.
        fresh: every request is the only one of its connection.
        streams: requests at once on each connection, over HTTP/2; 0 for HTTP/1.1.
    """

    path: str
    connections: int
    varied: bool = False
    fresh: bool = False
    streams: int = 0


@dataclass(frozen=True)
class Answers:
    """What came of one run."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int


def generator_name() -> str:
    """Which one is used, with its version."""
    wrk = shutil.which("wrk")
    if not wrk:
        return "the generator of tests/benchmarks (wrk is not installed)"
    said = subprocess.run([wrk, "-v"], capture_output=True, text=True)
    return " ".join((said.stdout + said.stderr).split()[:2])


def request_around_number(path: str, host: str) -> tuple[str, str]:
    """A whole request as a browser's, cut where a number of nine digits makes it that of another session."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in BROWSER_FIELDS.items())
    before, _, after = fields.partition(SESSION)
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{before}{SESSION}", f"{after[9:]}\r\n"


def run(load: Load, port: int, seconds: int, directory: Path, scheme: str = "http") -> Answers:
    """Ask for so many whole seconds.

    Raises:
        Missing: there is no generator for such a load.
        Failed: the generator failed, or nothing was answered.
    """
    url = f"{scheme}://127.0.0.1:{port}{load.path}"
    if load.streams:
        return _run_h2load(load, url, seconds, directory)
    wrk = shutil.which("wrk")
    if scheme == "https" and not wrk:
        raise Missing("wrk is not installed, which is what asks over TLS")
    if wrk:
        script = directory / "report.lua"
        text = WRK_DONE
        if load.varied:
            before, after = request_around_number(load.path, f"127.0.0.1:{port}")
            # What JSON escapes in these, Lua escapes in the same way.
            text += WRK_VARIED % (json.dumps(before), json.dumps(after))
        script.write_text(text)
        command = [wrk, "-t", "1", "-c", str(load.connections), "-d", f"{seconds}s", "-s", str(script)]
        fields = {**BROWSER_FIELDS, "Connection": "close"} if load.fresh else BROWSER_FIELDS
        for name, value in fields.items():
            command += ["-H", f"{name}: {value}"]
        command.append(url)
    else:
        command = [sys.executable, "-m", "tests.benchmarks.generator", url, str(load.connections), str(seconds)]
        command += ["varied"] if load.varied else []
    result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    try:
        answers = Answers(**json.loads(result.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        raise Failed(f"the load generator said: {result.stdout}{result.stderr}") from None
    if not answers.requests:
        raise Failed(f"no answer from {url}")
    return answers


def _run_h2load(load: Load, url: str, seconds: int, directory: Path) -> Answers:
    """The same over HTTP/2; h2load writes a line for each answer: when it was asked, the status, how long it took."""
    h2load = shutil.which("h2load")
    if not h2load:
        raise Missing("h2load is not installed, which is what asks over HTTP/2")
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    command = [h2load, "-c", str(load.connections), "-m", str(load.streams), "-D", str(seconds), "--warm-up-time=0"]
    for name, value in BROWSER_FIELDS.items():
        if name != "Connection":
            command += ["-H", f"{name.lower()}: {value}"]
    if load.varied:
        # Another path each, in turn; the fields of all are the same, as those of a page's files are.
        targets = directory / "h2load.urls"
        targets.write_text("".join(f"{url}?number={number}\n" for number in range(H2_TARGETS)))
        command.append(f"--input-file={targets}")
    else:
        command.append(url)
    result = subprocess.run([*command, f"--log-file={log}"], capture_output=True, text=True, timeout=seconds + 60)
    if "Application protocol: h2\n" not in result.stdout:
        raise Failed(f"h2load said: {result.stdout}{result.stderr}")
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    took_us = sorted(int(line[2]) for line in lines)
    if not took_us:
        raise Failed(f"no answer from {url}: {result.stdout}{result.stderr}")
    return Answers(
        requests=len(took_us),
        seconds=float(seconds),
        p50_us=float(took_us[len(took_us) // 2]),
        p99_us=float(took_us[len(took_us) * 99 // 100]),
        errors=sum(line[1] != "200" for line in lines),
    )
