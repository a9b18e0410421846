"""Who has to answer for a failure: only what a killed process held is excused."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.load.attribution import GRACE_S, Journal, Kill, Role, Verdict, judge, read_journal, report
from tests.load.killer import client_ports, kill
from tests.load.outcome import End, Outcome

PORT = 50_000
DJANGO = Kill(Role.DJANGO, 11, at=10.0, gone=10.01)
LATER = Kill(Role.DJANGO, 12, at=10.5, gone=10.51)
FRONT = Kill(Role.FRONT, 21, at=10.0, gone=10.01, ports=frozenset({PORT}))
INSIDE: Journal = {"one": [(11, 9.9)]}
INSIDE_TWO: Journal = {"one": [(11, 9.9), (12, 10.3)]}
ELSEWHERE: Journal = {"one": [(99, 9.9)]}

# A POST that began before the kill and failed right after it.
POST = Outcome(
    "one", "POST", "/echo", 9.8, port=PORT, sent=9.85, first_byte=10.1, ended=10.1, end=End.STATUS, status=502
)
GET = dataclasses.replace(POST, method="GET")
SOCKET = dataclasses.replace(POST, method="GET", target="/ws", is_websocket=True, end=End.CLOSED, status=101, code=1006)


def verdict(outcome: Outcome, kills: list[Kill], journal: Journal | None = None, **changes: object) -> Verdict:
    return judge(dataclasses.replace(outcome, **changes), kills, journal or {})  # type: ignore[arg-type]


class TestDjangoKilled:
    def test_what_may_not_be_repeated_and_was_inside_is_excused(self) -> None:
        assert verdict(POST, [DJANGO], INSIDE) is Verdict.INSIDE

    def test_what_may_be_repeated_is_not_until_two_have_died_over_it(self) -> None:
        assert verdict(GET, [DJANGO], INSIDE) is Verdict.FAULT
        assert verdict(GET, [DJANGO, LATER], INSIDE_TWO, ended=10.6) is Verdict.INSIDE

    def test_one_that_was_inside_another_process_is_not_excused(self) -> None:
        assert verdict(POST, [DJANGO], ELSEWHERE) is Verdict.FAULT

    def test_one_that_failed_before_the_kill_or_long_after_is_not_excused(self) -> None:
        assert verdict(POST, [DJANGO], INSIDE, ended=9.95) is Verdict.FAULT
        assert verdict(POST, [DJANGO], INSIDE, ended=10.02 + GRACE_S) is Verdict.FAULT

    def test_one_that_was_not_noted_is_excused_only_when_it_had_been_sent_by_then(self) -> None:
        assert verdict(POST, [DJANGO]) is Verdict.HANDED_OVER
        assert verdict(POST, [DJANGO], sent=10.02) is Verdict.FAULT
        assert verdict(POST, [DJANGO], sent=None) is Verdict.FAULT
        assert verdict(GET, [DJANGO]) is Verdict.FAULT

    @pytest.mark.parametrize("end", [End.REFUSED, End.RESET_BEFORE, End.RESET_AFTER, End.TIMEOUT, End.WRONG])
    def test_what_a_dead_django_cannot_do_is_never_excused(self, end: End) -> None:
        assert verdict(POST, [DJANGO], INSIDE, end=end) is Verdict.FAULT

    @pytest.mark.parametrize("status", [400, 404, 500, 503, 504])
    def test_another_status_than_502_is_never_excused(self, status: int) -> None:
        assert verdict(POST, [DJANGO], INSIDE, status=status) is Verdict.FAULT

    def test_an_answer_that_had_begun_may_be_cut(self) -> None:
        assert verdict(GET, [DJANGO], INSIDE, end=End.CUT, status=200) is Verdict.INSIDE
        assert verdict(GET, [DJANGO], ELSEWHERE, end=End.CUT, status=200) is Verdict.FAULT

    @pytest.mark.parametrize("code", [1006, 1011, 1014])
    def test_a_websocket_inside_may_end_out_of_order(self, code: int) -> None:
        assert verdict(SOCKET, [DJANGO], INSIDE, code=code) is Verdict.INSIDE
        assert verdict(SOCKET, [DJANGO], ELSEWHERE, code=code) is Verdict.FAULT


class TestFrontKilled:
    @pytest.mark.parametrize("end", [End.RESET_BEFORE, End.RESET_AFTER, End.CUT])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_what_its_connections_carried_is_excused(self, end: End, method: str) -> None:
        assert verdict(POST, [FRONT], end=end, method=method, status=0) is Verdict.INSIDE

    @pytest.mark.parametrize("end", [End.RESET_BEFORE, End.RESET_AFTER, End.CUT, End.REFUSED, End.TIMEOUT])
    def test_other_connections_are_not(self, end: End) -> None:
        assert verdict(GET, [FRONT], end=end, port=PORT + 1, status=0) is Verdict.FAULT

    @pytest.mark.parametrize("end", [End.REFUSED, End.TIMEOUT, End.WRONG, End.STATUS])
    def test_what_a_dead_front_cannot_do_is_not(self, end: End) -> None:
        assert verdict(GET, [FRONT], end=end) is Verdict.FAULT

    def test_a_loss_before_the_kill_or_long_after_is_not(self) -> None:
        assert verdict(GET, [FRONT], end=End.RESET_AFTER, ended=9.99) is Verdict.FAULT
        assert verdict(GET, [FRONT], end=End.RESET_AFTER, ended=10.02 + GRACE_S) is Verdict.FAULT

    def test_a_websocket_of_it_may_end_without_a_close(self) -> None:
        assert verdict(SOCKET, [FRONT]) is Verdict.INSIDE
        assert verdict(SOCKET, [FRONT], code=1011) is Verdict.FAULT
        assert verdict(SOCKET, [FRONT], port=PORT + 1) is Verdict.FAULT


class TestNobodyKilled:
    @pytest.mark.parametrize("end", [end for end in End if end is not End.OK])
    def test_every_failure_is_ducks(self, end: End) -> None:
        assert verdict(POST, [], INSIDE, end=end, code=1006) is Verdict.FAULT

    @pytest.mark.parametrize("code", [1001, 1012])
    def test_a_websocket_that_is_sent_away_in_order_was_served(self, code: int) -> None:
        assert verdict(SOCKET, [], code=code) is Verdict.SERVED

    @pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
    def test_any_other_end_of_a_websocket_is_ducks(self, code: int) -> None:
        assert verdict(SOCKET, [], code=code) is Verdict.FAULT

    def test_an_answer_was_served(self) -> None:
        assert verdict(POST, [], end=End.OK) is Verdict.SERVED


def test_a_report_counts_and_names_what_failed() -> None:
    served = dataclasses.replace(POST, end=End.OK)
    made = report([served, POST, dataclasses.replace(GET, end=End.REFUSED)], [DJANGO], INSIDE)
    assert made.total == 3
    assert (made.counts[Verdict.SERVED], made.counts[Verdict.INSIDE], made.counts[Verdict.FAULT]) == (1, 1, 1)
    assert "connection refused" in str(made)
    assert [each for _, each in made.excused] == [POST]


def test_a_journal_is_read_by_process(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "11").write_text("one 9.9\ntwo 10.0\n")
    (tmp_path / "journal" / "12").write_text("one 10.3\n")
    assert sorted(read_journal(tmp_path)["one"]) == [(11, 9.9), (12, 10.3)]


ACCEPTING = """
import socket, sys
server = socket.socket(fileno=0)
kept = [server.accept()[0]]
print("accepted", flush=True)
sys.stdin = None
import time
time.sleep(60)
"""


def test_the_killer_knows_what_a_front_process_held_and_what_still_waited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        child = subprocess.Popen(
            [sys.executable, "-c", ACCEPTING], stdin=server.fileno(), stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout is not None
            with socket.create_connection(("127.0.0.1", port)) as held:
                assert child.stdout.readline() == "accepted\n"
                with socket.create_connection(("127.0.0.1", port)) as waiting:
                    assert client_ports(psutil.Process(child.pid), port) == {held.getsockname()[1]}
                    killed = asyncio.run(kill(Role.FRONT, child.pid, port))
                    assert killed is not None
                    assert killed.ports == {held.getsockname()[1]}
                    assert killed.at <= killed.gone
                    accepted, (_, client_port) = server.accept()  # by whoever listens on
                    accepted.close()
                    assert client_port == waiting.getsockname()[1]
            assert child.wait(10) == -signal.SIGKILL
            assert asyncio.run(kill(Role.DJANGO, child.pid, port)) is None
        finally:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        assert not psutil.pid_exists(child.pid) or child.pid == os.getpid()
