"""Shell commands that a Celery worker runs for an automation, without Celery."""

from __future__ import annotations

import time
from typing import Any

import pytest

from duck.backend.django.worker.outside import Failed, ask_url, run_shell
from tests.alive import is_alive


def shell(command: str, **event: Any) -> None:
    context = {"scheduled_for": "2026-05-01T00:30:00Z", "attempt": 1, "missed": 0, "key": "job", "event": event}
    run_shell({"target": command, "details": {}, "context": context, "grace_s": 0.1})


def test_it_is_told_what_has_happened_where_that_is_not_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    shell('echo "event $DUCK_EVENT"', path="a b")
    shell('echo "event $DUCK_EVENT"', path="x" * 200_000)
    shell('echo "event $DUCK_EVENT"')
    assert capsys.readouterr().out == 'event {"path": "a b"}\nevent \nevent \n'


def test_what_it_leaves_behind_ends_with_it_though_it_holds_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    shell("sleep 300 & echo $!")
    assert time.monotonic() - began < 60.0
    pid = int(capsys.readouterr().out)
    while is_alive(pid):
        assert time.monotonic() - began < 60.0
        time.sleep(0.01)


def test_all_that_it_prints_comes_whole(capsys: pytest.CaptureFixture[str]) -> None:
    shell("i=0; while [ $i -lt 5000 ]; do echo \u20ac\u20ac\u20ac\u20ac\u20ac; i=$((i + 1)); done")
    assert capsys.readouterr().out == "\u20ac\u20ac\u20ac\u20ac\u20ac\n" * 5000
    with pytest.raises(Failed, match="exit code 3"):
        shell("exit 3")


def test_a_path_is_of_the_site_whose_address_it_is_told() -> None:
    context = {"key": "job", "scheduled_for": "2026-05-01T00:30:00Z"}
    told = {"target": "/hook", "details": {}, "context": context, "timeout_s": 5.0}
    with pytest.raises(Failed, match=r"^http://127\.0\.0\.1:1/hook cannot be asked: "):
        ask_url({**told, "base": "http://127.0.0.1:1"})
    with pytest.raises(
        Failed, match=r"^/hook is of the project itself, whose address is not known here; set AUTOMATION"
    ):
        ask_url({**told, "base": None})
