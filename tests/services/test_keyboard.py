"""Single keys from a terminal, whose modes are as they were whenever somebody else has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duck.services.inbox import Inbox
from duck.services.keyboard import Keyboard, keys_in
from tests.app.terminal import Console

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

# `p` and `u` pause and resume, `q` ends in order, `x` by an error, `e` without any order but that of the interpreter.
PROGRAM = """
import sys
from duck.services.inbox import Inbox
from duck.services.keyboard import Keyboard

def typed(key):
    print("key", repr(key), flush=True)
    if key == "p":
        keyboard.pause()
        print("paused", flush=True)
        inbox.call_later(0.2, resume)
    elif key == "q":
        keyboard.stop()
        inbox.stop()
    elif key == "e":
        sys.exit(7)

def resume():
    keyboard.resume()
    print("resumed", flush=True)

inbox = Inbox()
keyboard = Keyboard(typed)
print("started", keyboard.start(inbox), keyboard.is_reading, flush=True)
inbox.run()
print("ended", flush=True)
"""
# What a shell does for its jobs: `f` brings the job to the foreground, `b` lets it go on behind.
SHELL = """
import os, signal, sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
program, begins = sys.argv[1], sys.argv[2]
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    if begins == "f":
        os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-c", program])
try:
    os.setpgid(job, job)
except OSError:
    pass
how = begins
while True:
    if how == "f":
        os.tcsetpgrp(0, job)
        if begins != "f":
            os.killpg(job, signal.SIGCONT)
        begins = ""
        _, status = os.waitpid(job, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpgrp())
        if not os.WIFSTOPPED(status):
            print("job ended", os.waitstatus_to_exitcode(status), flush=True)
            sys.exit(0)
        print("job stopped", os.WSTOPSIG(status) == signal.SIGTSTP, flush=True)
    elif how == "b":
        if begins != "b":
            os.killpg(job, signal.SIGCONT)
        begins = ""
        print("job behind", flush=True)
    how = input()
"""


@pytest.fixture
def environ() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def program(environ: dict[str, str], tmp_path: Path) -> Iterator[Console]:
    console = Console([sys.executable, "-c", PROGRAM], tmp_path, environ)
    yield console
    console.close()


@pytest.fixture
def shell(environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Console]:
    console = Console([sys.executable, "-c", SHELL, PROGRAM, request.param], tmp_path, environ)
    yield console
    console.close()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("r", "r"),
        ("R", "r"),
        ("h\n", "h"),
        ("h\r", "h"),
        ("\r", "\n"),
        ("\n\n", "\n"),
        ("\x1b[A", ""),
        ("\x1b", ""),
        ("migrate", ""),
        ("q\nq", "qq"),
        ("\x1b[Axc", "xc"),
        ("\x1bOP\x1b[1;5Cr\x1br", "r"),
        ("rrrr", ""),
        ("", ""),
        ("\u00fc", "\u00fc"),
    ],
)
def test_keys_are_told_from_arrows_and_from_what_was_pasted(text: str, keys: str) -> None:
    assert keys_in(text) == keys


def test_keys_come_at_once_and_unseen_and_the_end_leaves_the_terminal_as_it_was(program: Console) -> None:
    program.wait_for("started True True")
    assert not program.is_cooked
    program.type("a")
    assert program.wait_for("key 'a'").strip() == "key 'a'", "it is not echoed"
    program.type("q")
    program.wait_for("ended")
    assert program.is_cooked
    assert program.wait() == 0


def test_an_end_that_nobody_ordered_leaves_the_terminal_as_it_was(program: Console) -> None:
    program.wait_for("started True True")
    program.type("e")
    program.wait_for("key 'e'")
    assert program.wait() == 7
    assert program.is_cooked


def test_while_somebody_else_has_the_terminal_its_modes_are_as_they_were(program: Console) -> None:
    program.wait_for("started True True")
    program.type("p")
    program.wait_for("paused")
    assert program.is_cooked
    program.wait_for("resumed")
    assert not program.is_cooked
    program.type("q")
    program.wait_for("ended")


@pytest.mark.parametrize("shell", ["f"], indirect=True)
def test_ctrl_z_gives_the_terminal_back_and_the_foreground_takes_it_again(shell: Console) -> None:
    shell.wait_for("started True True")
    shell.type("\x1a")
    shell.wait_for("job stopped True")
    assert shell.is_cooked
    shell.type("b\n")
    shell.wait_for("job behind")
    assert shell.is_cooked
    shell.type("f\n")
    shell.wait_for("f")  # the shell's own echo
    until_uncooked(shell)
    shell.type("a")
    shell.wait_for("key 'a'")
    shell.type("\x1a")
    shell.wait_for("job stopped True")
    shell.type("f\n")
    until_uncooked(shell)
    shell.type("q")
    shell.wait_for("ended")
    shell.wait_for("job ended 0")
    assert shell.is_cooked


@pytest.mark.parametrize("shell", ["b"], indirect=True)
def test_one_that_starts_in_the_background_is_not_stopped_and_reads_once_it_is_in_front(shell: Console) -> None:
    shell.wait_for("started True False")
    assert shell.is_cooked
    shell.type("f\n")
    until_uncooked(shell)
    shell.type("q")
    shell.wait_for("key 'q'")
    shell.wait_for("job ended 0")


def until_uncooked(console: Console) -> None:
    from tests.waiting import wait_until

    wait_until(lambda: not console.is_cooked)


def test_what_is_no_terminal_has_no_keys() -> None:
    reading, writing = os.pipe()
    inbox = Inbox()
    keys: list[str] = []
    keyboard = Keyboard(keys.append, reading)
    try:
        assert not keyboard.start(inbox)
        os.write(writing, b"q")
        inbox.run_once(0)
        keyboard.stop()
        assert keys == [] and not keyboard.is_reading
    finally:
        inbox.close()
        os.close(reading)
        os.close(writing)
