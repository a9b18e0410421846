"""Answers to http-01 challenges: small files by their token, and nothing else whatever is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from duck.http.challenges import MAX_BYTES, PREFIX, ChallengeFiles
from duck.testing import FakeStream, record_exchange


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    made = tmp_path / "challenges"
    made.mkdir()
    (made / "to-Ken_1").write_text("to-Ken_1.thumbprint")
    return made


def asked(directory: Path, path: bytes, method: bytes = b"GET") -> FakeStream:
    exchange, stream = record_exchange(method, path)
    ChallengeFiles(str(directory)).handle(exchange)
    assert stream.ended
    return stream


def test_the_file_of_a_token_is_the_answer(directory: Path) -> None:
    stream = asked(directory, PREFIX + b"to-Ken_1")
    assert (stream.status, bytes(stream.body)) == (200, b"to-Ken_1.thumbprint")
    assert stream.field("Content-Type") == "application/octet-stream"
    assert stream.field("Cache-Control") == "no-store"
    assert asked(directory, PREFIX + b"to-Ken_1?query").status == 200


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"unknown",
        b"../secret",
        b"..%2Fsecret",
        b"%2e%2e/secret",
        b".",
        b"..",
        b"to-Ken_1/",
        b"./to-Ken_1",
        b"/to-Ken_1",
        b"to-Ken_1%00",
        b"to%2DKen_1",
        b"a" * 129,
    ],
)
def test_what_is_no_token_is_not_there(directory: Path, token: bytes) -> None:
    assert asked(directory, PREFIX + token).status == 404


def test_what_is_no_small_ordinary_file_is_not_there(directory: Path) -> None:
    (directory / "link").symlink_to(directory.parent / "secret")
    (directory / "directory").mkdir()
    os.mkfifo(directory / "pipe")
    (directory / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    for token in (b"link", b"directory", b"pipe", b"large"):
        assert asked(directory, PREFIX + token).status == 404, token
    (directory / "large").write_bytes(b"x" * MAX_BYTES)
    assert asked(directory, PREFIX + b"large").status == 200


def test_a_directory_that_is_not_there_yet_is_no_failure(tmp_path: Path) -> None:
    assert asked(tmp_path / "none", PREFIX + b"token").status == 404


def test_only_get_and_head_are_answered(directory: Path) -> None:
    stream = asked(directory, PREFIX + b"to-Ken_1", b"POST")
    assert (stream.status, stream.field("Allow")) == (405, "GET, HEAD")
