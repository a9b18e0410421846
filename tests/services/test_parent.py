"""The end of a child: it hears, says all that it has to say, and waits for nobody meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from duck.services.child import Child
from duck.services.inbox import Inbox
from tests.waiting import serve_until, wait_until

VARIABLE = "_TEST_PARENT"

CHILD = f"""
import json, os, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from duck.services.inbox import Inbox
from duck.services.parent import Parent
inbox = Inbox()
def do(message):
    if message["do"] == "end":
        inbox.stop()
    elif message["do"] == "much":
        for number in range(100):
            parent.send("much", number=number, text="x" * 10_000)
        parent.send("stood", still=parent.stands_still)
        open(told["said"], "w").close()
    else:
        parent.send("heard", **message)
told = json.loads(os.environ[{VARIABLE!r}])
parent = Parent(inbox, told, do, most_read=100_000, most_unsent=told["most_unsent"])
parent.send("began", descriptors=[os.get_inheritable(told[name]) for name in ("control_fd", "lifeline_fd")])
parent.listen()
inbox.run()
parent.flush()
"""


class Heard:
    """What a child has said, and how it ended."""

    def __init__(self, most_unsent: int, said: Path) -> None:
        self.inbox = Inbox()
        self.said = said
        told = {"most_unsent": most_unsent, "said": str(said)}
        command = [sys.executable, "-c", CHILD]
        self.child = Child.spawn(self.inbox, command, VARIABLE, told, [])
        self.messages: list[dict[str, Any]] = []
        self.codes: list[int] = []
        self.child.on_message = self.messages.append
        self.child.on_exit = self.codes.append
        serve_until(self.inbox, lambda: self.messages)

    def say_much_and_end(self) -> None:
        """Nothing of it is read before all is said."""
        self.child.send("much")
        wait_until(self.said.exists)
        self.child.send("end")
        serve_until(self.inbox, lambda: self.codes, told=lambda: self.messages)


@pytest.fixture(params=[16 << 20], ids=["roomy"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heard]:
    made = Heard(request.param, tmp_path / "said")
    yield made
    made.child.kill()
    serve_until(made.inbox, lambda: made.codes)
    made.inbox.close()


def test_it_hears_and_says_and_its_ends_are_nobody_elses(heard: Heard) -> None:
    heard.child.send("this", text="é")
    heard.child.send("long", text="x" * 200_000)  # no message
    heard.child.send("that")
    serve_until(heard.inbox, lambda: len(heard.messages) == 3)
    assert heard.messages == [
        {"event": "began", "descriptors": [False, False]},
        {"event": "heard", "do": "this", "text": "é"},
        {"event": "heard", "do": "that"},
    ]


def test_what_it_said_is_heard_although_it_ends_at_once(heard: Heard) -> None:
    heard.say_much_and_end()
    assert heard.codes == [0]
    assert [one["number"] for one in heard.messages[1:-1]] == list(range(100))
    assert heard.messages[-1] == {"event": "stood", "still": True}


@pytest.mark.parametrize("heard", [50_000], indirect=True)
def test_what_is_said_beyond_the_bound_is_not_heard_and_each_message_is_whole(heard: Heard) -> None:
    heard.say_much_and_end()
    numbers = [one["number"] for one in heard.messages[1:] if one["event"] == "much"]
    assert numbers == list(range(len(numbers))) and 5 <= len(numbers) < 100
