"""Opening files: regular ones, without waiting, and never outside a closed root."""

import logging
import os
import socket
import threading

import pytest

from duck.http import file_roots
from duck.http.file_roots import AnyPath, ClosedRoot, OpenRoot


def read(root, name):
    """The bytes of `name`, or None."""
    found = root.open(name)
    if found is None:
        return None
    descriptor, state = found
    try:
        return os.read(descriptor, state.size)
    finally:
        os.close(descriptor)


@pytest.fixture
def place(tmp_path, no_descriptor_is_left):
    """A root with a file, and a secret beside it."""
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "top.txt").write_bytes(b"top")
    (root / "a/b/deep.txt").write_bytes(b"deep")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_bytes(b"secret")
    return root


@pytest.fixture(params=[OpenRoot, ClosedRoot])
def root(request, place):
    return request.param(str(place))


def test_files_at_any_depth_are_opened(root):
    assert read(root, "top.txt") == b"top"
    assert read(root, "a/b/deep.txt") == b"deep"


def test_what_is_no_regular_file_is_nothing(root, place):
    os.mkfifo(place / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(place / "sock"))
        for name in ("a", "a/b", "pipe", "sock", "missing", "missing/x", "top.txt/x", "x" * 5000, "a/" * 3000 + "x"):
            assert read(root, name) is None


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="there is no /dev/null here")
def test_a_device_is_nothing(place):
    (place / "null").symlink_to("/dev/null")
    assert read(OpenRoot(str(place)), "null") is None
    assert AnyPath().open("/dev/null") is None


def test_a_root_that_does_not_exist_has_nothing(tmp_path):
    assert read(OpenRoot(str(tmp_path / "none")), "x") is None
    assert read(ClosedRoot(str(tmp_path / "none")), "x") is None


def test_a_link_in_an_open_root_is_followed_anywhere(place):
    (place / "link.txt").symlink_to("../secret/key.txt")
    (place / "dir").symlink_to("../secret")
    root = OpenRoot(str(place))
    assert read(root, "link.txt") == read(root, "dir/key.txt") == b"secret"


def chained_and_resolved(place, monkeypatch):
    """A closed root as it works here, and as it works where directories cannot be opened below one another."""
    yield ClosedRoot(str(place))
    monkeypatch.setattr(file_roots, "_CAN_CHAIN", False)
    yield ClosedRoot(str(place))


def test_no_link_leads_out_of_a_closed_root(place, monkeypatch):
    (place / "link.txt").symlink_to("../secret/key.txt")
    (place / "absolute.txt").symlink_to(place.parent / "secret/key.txt")
    (place / "dir").symlink_to("../secret")
    (place / "up").symlink_to("..")
    (place / "chain").symlink_to("dir")
    (place / "loop").symlink_to("loop")
    (place.parent / "root-too").mkdir()
    (place.parent / "root-too/key.txt").write_bytes(b"secret")
    (place / "sibling").symlink_to("../root-too")
    names = ("link.txt", "absolute.txt", "dir/key.txt", "up/secret/key.txt", "chain/key.txt", "loop", "sibling/key.txt")
    for root in chained_and_resolved(place, monkeypatch):
        assert [read(root, name) for name in names] == [None] * len(names)


def test_a_link_that_stays_in_a_closed_root_is_followed(place, monkeypatch):
    (place / "link.txt").symlink_to("a/b/deep.txt")
    (place / "dir").symlink_to(place / "a")
    (place / "out-and-in").symlink_to("../root/a")
    for root in chained_and_resolved(place, monkeypatch):
        for name in ("link.txt", "dir/b/deep.txt", "out-and-in/b/deep.txt"):
            assert read(root, name) == b"deep"


def test_a_link_to_a_hidden_file_is_not_followed_in_a_closed_root(place, monkeypatch):
    (place / ".hidden").mkdir()
    (place / ".hidden/key.txt").write_bytes(b"secret")
    (place / "dir").symlink_to(".hidden")
    (place / "a/link.txt").symlink_to("../.hidden/key.txt")
    for root in chained_and_resolved(place, monkeypatch):
        assert read(root, "dir/key.txt") is None
        assert read(root, "a/link.txt") is None


def test_the_root_itself_may_be_a_link_and_be_exchanged(place, tmp_path):
    link = tmp_path / "current"
    link.symlink_to("root")
    root = ClosedRoot(str(link))
    assert read(root, "top.txt") == b"top"
    link.unlink()
    link.symlink_to("secret")
    assert read(root, "top.txt") is None
    assert read(root, "key.txt") == b"secret"


def test_a_directory_that_is_exchanged_for_a_link_meanwhile_gains_nothing(place):
    """The race: `a` is a directory at one moment and a link out of the root at the next."""
    (place.parent / "secret/b").mkdir()
    (place.parent / "secret/b/deep.txt").write_bytes(b"secret")
    stop = threading.Event()

    def exchange():
        while not stop.is_set():
            os.rename(place / "a", place / "aside")
            os.symlink(place.parent / "secret", place / "a")
            os.unlink(place / "a")
            os.rename(place / "aside", place / "a")

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        root = ClosedRoot(str(place))
        seen = {read(root, "a/b/deep.txt") for _ in range(3000)}
    finally:
        stop.set()
        thread.join()
    assert b"secret" not in seen


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; the next test stands in for this one")
def test_a_file_that_may_not_be_read_is_nothing_and_is_told_once(root, place, caplog):
    (place / "top.txt").chmod(0)
    with caplog.at_level(logging.WARNING, "duck.files"):
        assert read(root, "top.txt") is None
        assert read(root, "top.txt") is None
    assert len(caplog.records) == 1 and "Make it readable" in caplog.text


def test_a_refused_open_is_nothing_and_is_told_once(root, place, caplog, monkeypatch):
    monkeypatch.setattr(file_roots, "_told", set())

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "duck.files"):
        patch.setattr(file_roots.os, "open", refuse)
        found = [root.open("top.txt"), root.open("top.txt")]
    assert found == [None, None]
    assert len(caplog.records) == 1
    assert "top.txt cannot be served (Permission denied)" in caplog.text and "Make it readable" in caplog.text
