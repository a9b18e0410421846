"""Which webhooks a front answers, and what their secrets are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from duck.app.automation_declarations import read_all
from duck.app.hooks import Hooks, webhooks
from duck.services.automations.event_spool import EventSpool
from duck.services.automations.places import event_directory
from duck.settings import load

SETTINGS = [
    {"event": "webhook", "path": "/a", "secret_file": "a.secret"},
    {"event": "webhook", "path": "/b", "secret_env": "HOOK_B"},
]


@pytest.fixture
def spool(tmp_path: Path) -> EventSpool:
    return EventSpool(tmp_path / "events")


def test_those_of_settings_and_of_code_are_known_and_again_only_when_they_are_others(
    spool: EventSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.secret").write_text("of the file\n")
    monkeypatch.setenv("HOOK_B", "of the variable")
    hooks = Hooks(spool.directory, SETTINGS, tmp_path)
    assert hooks.look() == {b"/a": (b"of the file",), b"/b": (b"of the variable",)}
    assert hooks.look() is None
    spool.want([{"event": "webhook", "path": "/c", "secret": "of the code"}, {"event": "deploy"}, *SETTINGS])
    assert hooks.look() == {b"/a": (b"of the file",), b"/b": (b"of the variable",), b"/c": (b"of the code",)}
    (tmp_path / "a.secret").write_text("another one")
    found = hooks.look()
    assert found is not None and found[b"/a"] == (b"another one",)
    assert hooks.look() is None


def test_one_whose_secret_cannot_be_had_refuses_everybody_and_says_so_once(
    spool: EventSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HOOK_B", raising=False)
    hooks = Hooks(spool.directory, SETTINGS, tmp_path)
    assert hooks.look() == {b"/a": (), b"/b": ()}
    spool.want([{"event": "deploy"}])
    assert hooks.look() == {b"/a": (), b"/b": ()}
    assert [record.getMessage() for record in caplog.records] == [
        f"The webhook /a refuses everybody: {tmp_path / 'a.secret'} cannot be read: No such file or directory.",
        "The webhook /b refuses everybody: the variable HOOK_B is not set in this process.",
    ]
    (tmp_path / "a.secret").write_text("now")
    assert hooks.look() == {b"/a": (b"now",), b"/b": ()}


def test_what_is_kept_is_an_event_and_what_cannot_be_is_an_error(spool: EventSpool, tmp_path: Path) -> None:
    hooks = Hooks(spool.directory, SETTINGS, tmp_path)
    kept = hooks.keep("/a", {"body": {"ref": "main"}})
    with spool.taken(10) as (happened,):
        assert (happened.id, happened.event, happened.details) == (kept, "webhook", {"path": "/a"})
        assert happened.told == {"body": {"ref": "main"}}
    spool.directory.chmod(0o777)
    with pytest.raises(OSError, match="others may enter it"):
        hooks.keep("/a", {})


def test_a_secret_that_was_replaced_in_the_settings_is_right_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write(secret: str) -> None:
        (tmp_path / "duck.toml").write_text(
            'use_django = false\n[automations.one]\nshell = "true"\non = "webhook"\n'
            f'path = "/a"\nsecret = "{secret}-of-this-test"\n'
        )

    write("first")
    settings = load.load({}, {}, tmp_path).with_values(STATE_DIR=tmp_path.parent / f"{tmp_path.name}-state")
    spool = EventSpool(event_directory(settings, None))
    spool.want([{"event": "webhook", "path": "/a", "secret": "first-of-this-test"}])
    make, clock = webhooks(settings), SimpleNamespace(now=0.0, watched=set())
    assert make is not None
    hooks = make(cast("Any", None), cast("Any", clock))
    assert hooks.secrets == {b"/a": (b"first-of-this-test",)}
    write("second")
    spool.want([{"event": "webhook", "path": "/a", "secret": "second-of-this-test"}])
    hooks.expire(1.0)
    assert hooks.secrets == {b"/a": (b"second-of-this-test",)}
    (tmp_path / "duck.toml").write_text("[")
    spool.want([])
    hooks.expire(2.0)
    assert hooks.secrets == {b"/a": (b"second-of-this-test",)} and "stay as they were" in caplog.text


def test_one_path_with_two_secrets_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "duck.toml").write_text(
        """
        use_django = false
        [automations.one]
        shell = "true"
        on = "webhook"
        path = "/a"
        secret_env = "ONE"
        [automations.two]
        shell = "true"
        on = "webhook"
        path = "/a"
        secret_env = "TWO"
        [automations.three]
        shell = "true"
        on = "webhook"
        path = "/a"
        secret_env = "ONE"
        """
    )
    (problem,) = read_all(load.load({}, {}, tmp_path), None).problems
    assert "the automation 'two' has another secret for /a than 'one'; give each a path of its own" in problem
