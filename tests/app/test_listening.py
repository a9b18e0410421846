"""What cannot be listened on is one sentence with the remedy."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from duck.app.listening import Listening
from duck.exceptions import ApplicationError
from duck.net.listener import open_listeners
from duck.settings.listen import ListenAddress
from duck.settings.views import ListeningView


def refusal(path: Path) -> str:
    with pytest.raises(ApplicationError) as refused:
        open_listeners([ListenAddress("unix", path=str(path))])
    return str(refused.value)


def test_a_directory_that_is_not_there_has_to_be_made(tmp_path: Path) -> None:
    where = tmp_path / "no"
    assert refusal(where / "web.sock") == (
        f"cannot listen on unix:{where}/web.sock: No such file or directory;"
        f" make the directory {where}, or choose another path"
    )


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"make the directory {tmp_path / 'file'}, or" in refusal(tmp_path / "file" / "web.sock")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert f"that you may write to, {tmp_path / 'closed'} is none" in refusal(tmp_path / "closed" / "web.sock")


def test_a_path_too_long_for_the_system_is_told_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    assert f"this one has {len(str(path))} bytes" in refusal(path)


def view_of(address: ListenAddress) -> ListeningView:
    return ListeningView((address,), "localhost", False, 16, "default", None, (), http2=True)


def test_the_file_of_a_socket_that_duck_made_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    view = view_of(ListenAddress("unix", path=str(path)))
    before, after = Listening(), Listening()
    before.open(view)
    # As a replacement of Duck takes it over.
    after.open(view, [(os.dup(before.sockets[0].fileno()), False)])
    assert path.is_socket()
    after.close()
    assert not path.exists()
    before.close()


def test_the_file_of_a_socket_that_another_opened_stays(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))
        opened.listen()
        listening = Listening()
        listening.open(view_of(ListenAddress("fd", fd=os.dup(opened.fileno()))))
        assert listening.paths == [str(path)]
        listening.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
