"""The spool: its bounds, its files, and what an answer's overflow gives back."""

import os
import subprocess
import sys

import pytest

from duck.proxy import spool as spools
from duck.proxy.leftovers import YOUNG_S
from duck.proxy.spool import Spool, SpoolFull


@pytest.fixture
def spool(tmp_path):
    spool = Spool(str(tmp_path), 1000, 200)
    yield spool
    assert spool.used == spool.used_by_answers == 0
    spool.close()
    assert not os.listdir(tmp_path)


def full_disk(monkeypatch, after):
    """Have the disk take `after` bytes more."""
    left = [after]
    write = os.write

    def write_some(descriptor, data):
        count = min(left[0], len(data))
        if not count:
            raise OSError(28, "No space left on device")
        left[0] -= count
        return write(descriptor, bytes(data[:count]))

    monkeypatch.setattr(spools.os, "write", write_some)
    return left


def test_what_is_written_is_read_once_and_in_order(spool):
    file = spool.create()
    file.write(b"one two ")
    assert file.read(3) == b"one"
    file.write(b"three")
    assert (file.read(100), file.read(100)) == (b" two three", b"")
    file.write(b"!")
    assert (file.read(100), file.size, spool.used) == (b"!", 14, 14)
    file.close()
    file.close()


def test_a_file_has_a_name_where_another_process_reads_it(spool, tmp_path):
    named, unnamed = spool.create(named=True), spool.create()
    named.write(b"body")
    with open(named.path, "rb") as read:
        assert read.read() == b"body"
    assert os.stat(named.path).st_mode & 0o777 == 0o600
    assert unnamed.path == ""
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == [os.path.basename(named.path)]
    named.close()
    unnamed.close()


@pytest.mark.parametrize("named", [True, False])
def test_a_directory_that_was_cleaned_away_is_made_again(spool, tmp_path, named):
    spool.create(named=named).close()
    (made,) = tmp_path.iterdir()
    made.rmdir()
    file = spool.create(named=named)
    file.write(b"body")
    assert file.read() == b"body"
    file.close()


def test_a_file_that_a_full_disk_cut_has_all_of_a_write_or_nothing(spool, monkeypatch):
    file = spool.create()
    file.write(b"whole")
    left = full_disk(monkeypatch, 3)
    with pytest.raises(SpoolFull, match="disk is full"):
        file.write(b"lost in part")
    assert spool.used == 5
    left[0] = 100
    file.write(b" again")
    assert file.read() == b"whole again"
    file.close()


def test_a_file_whose_disk_fails_at_its_end_is_gone_all_the_same(spool, monkeypatch, tmp_path):
    file = spool.create(named=True)
    file.write(b"body")
    close = os.close

    def fail(descriptor):
        close(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spools.os, "close", fail)
    file.close()
    monkeypatch.undo()
    file.close()
    assert spool.used == 0 and not [name for _, _, names in os.walk(tmp_path) for name in names]


def test_answers_take_half_of_the_spool_and_bodies_all_that_is_left(spool):
    answers = [spool.overflow() for _ in range(3)]
    assert [answer.put(b"x" * 190) for answer in answers] == [True, True, False]
    assert (spool.used, spool.used_by_answers) == (380, 380)
    assert answers[0].put(b"x" * 120) is False  # more than its share, by 110, and all the same kept
    assert spool.used_by_answers == 500
    assert spool.overflow() is None
    body = spool.create()
    body.write(b"x" * 500)
    with pytest.raises(SpoolFull, match="1000 bytes"):
        body.write(b"x")
    for one in (*answers, body):
        one.close()


def test_a_spool_without_room_for_answers_gives_none(tmp_path):
    assert Spool(str(tmp_path), 1000, 0).overflow() is None
    assert Spool(str(tmp_path), 0, 1000).overflow() is None
    assert Spool(str(tmp_path / "absent"), 1000, 1000).overflow() is None
    assert not os.listdir(tmp_path)


def test_an_overflow_keeps_the_order_beyond_its_room(spool, monkeypatch):
    answer = spool.overflow()
    assert answer.put(b"in the file, ")
    left = full_disk(monkeypatch, 2)
    assert not answer.put(b"in memory, ")
    left[0] = 1000
    assert not answer.put(b"there, too")  # behind what is there already
    assert answer.take() == b"in the file, "
    assert answer.take() == b"in memory, there, too"
    assert answer.take() == b""
    answer.close()


def test_an_overflow_at_its_bound_asks_for_no_more_and_loses_nothing(spool):
    answer = spool.overflow()
    assert [answer.put(b"%099d," % number) for number in range(4)] == [True, False, False, False]
    assert answer.take() == b"".join(b"%099d," % number for number in range(4))
    answer.close()
    assert spool.used == 0


OWNER = """
import sys
from duck.proxy.spool import Spool
file = Spool(sys.argv[1], 1000).create(named=True)
file.write(b"half of an upload")
print(file.path, flush=True)
sys.stdin.read()
"""


def age(directory):
    then = os.stat(directory).st_mtime - YOUNG_S
    os.utime(directory, (then, then))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no lock on directories")
def test_what_a_killed_process_has_left_is_removed_and_nothing_else(tmp_path):
    spool = Spool(str(tmp_path), 1000)
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        path = owner.stdout.readline().strip()
        directory = os.path.dirname(path)
        age(directory)
        assert spool.sweep() == 0 and os.path.exists(path)
        owner.kill()
        owner.wait()
    os.utime(directory)
    assert spool.sweep() == 0  # it may have been made just now, and not be held yet
    age(directory)
    foreign = tmp_path / "duck-spool-foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("not Duck's")
    (tmp_path / "duck-spool-link").symlink_to(foreign)
    age(foreign)
    assert spool.sweep() == 1
    assert sorted(os.listdir(tmp_path)) == ["duck-spool-foreign", "duck-spool-link"] and os.listdir(foreign)
