"""What a run does outside of the project, where another process than Duck's carries it out: a shell command, a URL."""

from __future__ import annotations

import codecs
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, Dict

_READ_BYTES = 16_384
_ASK_S = 60.0
_LOOK_S = 0.2
# As `duck.services.automations.executors.shell` has them.
_MAX_EVENT = 100_000
_MOST_READS = 4


class Failed(Exception):
    """It did not succeed; the text says how."""


def run_shell(told: Dict[str, Any]) -> None:
    """Run a shell command in a process group of its own, which ends with this call, however that ends.

    What it prints goes to standard output.

    Raises:
        Failed: its exit code was another than 0, or it cannot be started.
    """
    details, context = told["details"], told["context"]
    event = json.dumps(context["event"]) if context.get("event") else ""
    environ = {
        **os.environ,
        **{str(name): str(value) for name, value in details.get("env", {}).items()},
        "DUCK_SCHEDULED_FOR": context["scheduled_for"],
        "DUCK_ATTEMPT": str(context["attempt"]),
        "DUCK_MISSED": str(context["missed"]),
        "DUCK_KEY": context["key"],
        "DUCK_EVENT": event if len(event) <= _MAX_EVENT else "",
    }
    directory = os.path.join(os.getcwd(), str(details.get("cwd", "")))
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", told["target"]],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"it cannot be started in {directory}: {error.strerror}") from None
    assert process.stdout is not None
    try:
        _print(process, process.stdout.fileno())
        code = process.wait()
    except BaseException:
        _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + float(told.get("grace_s") or 0.0)
        _print(process, process.stdout.fileno(), deadline)
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        raise
    finally:
        _signal(process, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    if code:
        raise Failed(f"exit code {code}" if code > 0 else f"it was ended by signal {-code}")


def _print(process: "subprocess.Popen[bytes]", descriptor: int, deadline: float = math.inf) -> None:
    """Print what it prints until it ends: what it leaves behind may hold the other end of the pipe for ever."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    os.set_blocking(descriptor, False)
    reads = 0  # since it ended
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while reads < _MOST_READS:
            is_over = process.poll() is not None
            reads += is_over
            if not is_over and time.monotonic() >= deadline:
                return
            if not selector.select(0.0 if is_over else _LOOK_S):
                continue
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                return
            sys.stdout.write(decoder.decode(data))


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def ask_url(told: Dict[str, Any]) -> None:
    """Ask a URL; the beginning of the answer goes to standard output.

    Raises:
        Failed: it was not answered, or with another status than 2xx.
    """
    url, details, context = told["target"], told["details"], told["context"]
    if url.startswith("/"):
        if not told.get("base"):
            raise Failed(f"{url} is of the project itself, whose address is not known here; set AUTOMATION_SITE")
        url = told["base"] + url
    headers = {
        "Idempotency-Key": context["key"],
        "Duck-Scheduled-For": context["scheduled_for"],
        **{str(name): str(value) for name, value in details.get("headers", {}).items()},
    }
    body = details.get("body")
    asked = urllib.request.Request(
        url,
        data=None if body is None else body.encode(),
        headers=headers,
        method=str(details.get("method", "GET")),
    )
    try:
        with urllib.request.urlopen(asked, timeout=told.get("timeout_s") or _ASK_S) as answer:
            sys.stdout.write(answer.read(_READ_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:
            sys.stdout.write(error.read(_READ_BYTES).decode("utf-8", "replace"))
        raise Failed(f"answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise Failed(f"{url} cannot be asked: {getattr(error, 'reason', error)}") from None
