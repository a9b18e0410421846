"""A disk that is really full: long bodies are refused in a sentence, everything else goes on."""

import os
import subprocess

import pytest

from tests.net.front import get, post
from tests.proxy.conftest import wait
from tests.proxy.test_link_workers import spooled_files


@pytest.fixture
def small_disk(tmp_path):
    """A directory with room for one mebibyte."""
    if getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("only root can mount a small disk: run the tests as root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_body_for_which_the_disk_has_no_room_is_refused_and_others_go_on(make_front, link_backend, small_disk):
    def echo(slot, items, fields, body):
        slot.answer(b"%d" % len(body))

    front = make_front(spool_dir=str(small_disk))
    front.switch(link_backend(echo).upstream(slots=2))
    assert front.ask(post(b"x" * 700_000)).body == b"700000"
    refused = front.ask(post(b"x" * 3_000_000))
    assert refused.status == 503
    assert refused.headers["Retry-After"] == "5"
    assert front.ask(get()).body == b"0"
    wait(lambda: not front.site.spool.used)
    assert front.ask(post(b"x" * 700_000)).body == b"700000"
    wait(lambda: not front.site.spool.used and not spooled_files(small_disk))


def test_an_answer_for_which_the_disk_has_no_room_waits_for_its_client(make_front, link_backend, small_disk):
    long = os.urandom(6 << 20)

    def script(slot, items, fields, body):
        slot.head(length=len(long))
        for at in range(0, len(long), 100_000):
            slot.data(long[at : at + 100_000])
        slot.end()
        slot.free()

    front = make_front(spool_dir=str(small_disk))
    front.switch(link_backend(script).upstream(slots=1))
    slow = front.connect(4096)
    slow.sendall(get())
    assert slow.answer().body == long
    wait(lambda: not front.site.spool.used)
