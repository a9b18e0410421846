"""Who has a thread of this process: connections ask for one, are granted it, and are asked back for it.

    connection ──AUTH (TCP), ASK──> asking ──a thread is free──> granted ──end of stream──> the thread is free

Several fronts ask for more threads than there are, and a front keeps a granted slot while it has nothing to ask. So
where somebody asks and no thread is free, slots are recalled; a front gives one back by closing its connection:

    soft    give it back when you have no request for it: slots that are idle come back at once, busy ones whenever
            their front has nothing that waits
    hard    give it back after the present request: from a front that has at least two more than one that asks; and,
            where there are more fronts than threads, in turn

A front that is stopped, or stuck, hears no recall. While somebody asks in vain, an idle slot that was recalled a second
ago is taken from its front, which is told so and knows that what it has sent since was not read. Such a front is numb:
what else it has and does not use is taken at once, and what it has asked for comes after all others, until it asks
anew, or some seconds have passed. What a slot is busy with is never taken: a view, or an answer, may take its time.

A front alone never asks in vain, and nothing here is done for a request. The connections that ask are read by one
thread; those that were granted are read by the thread that serves them.
"""

from __future__ import annotations

import hmac
import selectors
import socket
import threading
import time
from collections import Counter, deque
from typing import Deque, Dict, List, Optional, Set, Tuple

from ....wire.link import ASK, AUTH, FRONT_BYTES, HARD, SOFT, frame
from .grant import Grant

_ASK_TIMEOUT_S = 5.0
_TURN_S = 0.01  # a slot is used so long before it goes to the next of too many fronts
_LOOK_S = 0.01  # after a recall: has the front given it back, or found a request for it?
_LOOKS_S = 0.1  # between two looks while somebody asks in vain
_NUMB_S = 5.0  # after a slot was taken from a front
_BACKLOG = 1024
_MAX_KNOWN = 256  # fronts, of which most are gone

_ASK_START = frame(ASK, bytes(FRONT_BYTES))[:5]


class _Asking:
    """A connection without a slot."""

    __slots__ = ("connection", "deadline", "front", "received")

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.received = b""
        self.front = b""


class Slots:
    """The slots of one listening socket: `count` of them, each to be taken by a thread.

    Attributes:
        requests: how many were served on connections that have ended.
    """

    def __init__(self, listener: socket.socket, count: int, secret: str = "") -> None:
        self.requests = 0
        self._listener = listener
        self._count = count
        self._secret = secret.encode()
        self._is_local = listener.family == getattr(socket, "AF_UNIX", None)
        self._changed = threading.Condition(threading.Lock())
        self._asking: Deque[_Asking] = deque()
        self._granted: Set[Grant] = set()
        self._turns: Dict[bytes, float] = {}  # when each front was granted its last slot
        self._numb: Dict[bytes, float] = {}  # until when each front is taken for one that does not react
        self._waiting = 0  # threads
        self._closed = False
        self._look_at = 0.0  # when recalls are to be looked at again; 0 for never
        # Of the acceptor's thread:
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        self._unread: Set[_Asking] = set()

    def start(self) -> None:
        """Take connections from now on."""
        for one in (self._listener, self._wake_out, self._wake_in):
            one.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        threading.Thread(target=self._accept_all, name="duck-acceptor", daemon=True).start()

    def close(self) -> None:
        """Grant no more, and close what asks; what was granted is not touched."""
        with self._changed:
            self._closed = True
            asking, self._asking = self._asking, deque()
            self._changed.notify_all()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # refuses who connects before it is closed
        except OSError:
            pass
        self._listener.close()
        for one in asking:
            one.connection.close()
        self._wake()

    # -- for the threads that serve -------------------------------------------------------------------------------

    def take(self) -> Optional[Grant]:
        """Wait for a connection that asks, and grant it a slot; None when it is closed."""
        with self._changed:
            while True:
                if self._closed:
                    return None
                if self._asking:
                    break
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            counts = Counter(grant.front for grant in self._granted)
            now = time.monotonic()
            chosen = min(self._asking, key=lambda one: self._rank(one.front, counts, now))
            self._asking.remove(chosen)
            if len(self._turns) > _MAX_KNOWN:
                self._turns.clear()
            self._turns[chosen.front] = now
            chosen.connection.setblocking(True)
            grant = Grant(chosen.connection, chosen.front, now)
            self._granted.add(grant)
            before = self._look_at
            self._balance()
            must_wake = bool(self._look_at) and (not before or self._look_at < before)
        if must_wake:
            self._wake()
        return grant

    def gave_back(self, grant: Grant) -> None:
        """The connection of `grant` has ended; before the thread takes another."""
        with self._changed:
            self._granted.discard(grant)
            self.requests += grant.requests

    # -- recalls: with the lock held ------------------------------------------------------------------------------

    def _rank(self, front: bytes, counts: "Counter[bytes]", now: float) -> Tuple[bool, int, float]:
        """Who has the least goes first, and of these who has waited longest."""
        return self._is_numb(front, now), counts[front], self._turns.get(front, 0.0)

    def _is_numb(self, front: bytes, now: float) -> bool:
        return bool(self._numb) and self._numb.get(front, 0.0) > now

    def _take_back(self, grant: Grant, now: float) -> bool:
        if not grant.take_back():
            return False
        if len(self._numb) > _MAX_KNOWN:
            self._numb.clear()
        self._numb[grant.front] = now + _NUMB_S
        return True

    def _balance(self) -> None:
        """Recall slots for those who ask in vain."""
        self._look_at = 0.0
        if not self._asking or self._waiting:
            return
        now = time.monotonic()
        self._look_again(now + _LOOKS_S)
        counts = Counter(grant.front for grant in self._granted)
        wanted = Counter(one.front for one in self._asking)
        kept: List[Grant] = []
        promised = self._count - len(self._granted)  # between two connections
        for grant in self._granted:
            if grant.taken or (grant.is_silent(now) and wanted.keys() != {grant.front} and self._take_back(grant, now)):
                promised += 1
                counts[grant.front] -= 1
            elif grant.told == HARD or (grant.told and grant.is_idle and grant.requests == grant.told_after):
                promised += 1
                counts[grant.front] -= 1
                if grant.told != HARD:
                    self._look_again(now + _LOOK_S)
            else:
                kept.append(grant)
        while wanted:
            front = min(wanted, key=lambda front: self._rank(front, counts, now))
            if promised > 0:
                promised -= 1
            else:
                grant_or_none = self._find(front, counts, kept, now)
                if grant_or_none is None:
                    break
                kept.remove(grant_or_none)
                counts[grant_or_none.front] -= 1
            counts[front] += 1
            wanted[front] -= 1
            if not wanted[front]:
                del wanted[front]
        for grant in kept:
            if not grant.told and any(front != grant.front for front in wanted):
                grant.recall(SOFT)

    def _find(self, front: bytes, counts: "Counter[bytes]", kept: List[Grant], now: float) -> Optional[Grant]:
        """A slot that was recalled for `front`; None where it has its share."""
        others = sorted(
            (grant for grant in kept if grant.front != front), key=lambda grant: (-counts[grant.front], grant.since)
        )
        if not others:
            return None
        for grant in others:
            if grant.is_idle and self._is_numb(grant.front, now) and self._take_back(grant, now):
                return grant
        for grant in others:
            if grant.is_idle and not grant.told:
                grant.recall(SOFT)
                self._look_again(now + _LOOK_S)
                return grant
        first = others[0]
        if counts[first.front] - counts[front] < 2:
            if counts[front] > 0:
                return None
            if now < first.since + _TURN_S:
                self._look_again(first.since + _TURN_S)
                return None
        first.recall(HARD)
        return first

    def _look_again(self, at: float) -> None:
        self._look_at = min(self._look_at or at, at)

    # -- connections that ask: on a thread of their own -----------------------------------------------------------

    def _accept_all(self) -> None:
        while True:
            try:
                keys = [key for key, _ in self._selector.select(self._patience())]
            except (OSError, ValueError):
                keys = []  # closed meanwhile
            if self._closed:
                break
            for key in keys:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_out:
                    self._drain_wakes()
                else:
                    self._read(key.data)
            now = time.monotonic()
            for one in [one for one in self._unread if one.deadline <= now]:
                self._drop(one)
            with self._changed:
                if self._look_at and self._look_at <= now:
                    self._balance()
        for one in tuple(self._unread):
            self._drop(one)
        self._selector.close()
        self._wake_out.close()
        self._wake_in.close()

    def _patience(self) -> Optional[float]:
        times = [one.deadline for one in self._unread]
        with self._changed:  # while it is being made anew it says nothing
            if self._look_at:
                times.append(self._look_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _accept(self) -> None:
        for _ in range(64):
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                if not self._closed:
                    time.sleep(0.05)  # out of descriptors: some will come back
                return
            connection.setblocking(False)
            if not self._is_local:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one = _Asking(connection, time.monotonic() + _ASK_TIMEOUT_S)
            self._unread.add(one)
            self._selector.register(connection, selectors.EVENT_READ, one)
            self._read(one)

    def _read(self, one: _Asking) -> None:
        """Read what a connection says before it has a slot: AUTH over TCP, where anybody may connect; and ASK."""
        auth = b"" if self._is_local else frame(AUTH, self._secret)
        wanted = len(auth) + len(_ASK_START) + FRONT_BYTES
        try:
            data = one.connection.recv(wanted - len(one.received))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        one.received += data
        if not data:
            self._drop(one)
            return
        if len(one.received) < wanted:
            return
        told, asked = one.received[: len(auth)], one.received[len(auth) :]
        if not asked.startswith(_ASK_START) or (auth and not (self._secret and hmac.compare_digest(told, auth))):
            self._drop(one)
            return
        one.front = asked[len(_ASK_START) :]
        self._forget(one)
        with self._changed:
            if self._closed:
                one.connection.close()
                return
            self._numb.pop(one.front, None)
            self._asking.append(one)
            if self._waiting:
                self._changed.notify()
            else:
                self._balance()

    def _forget(self, one: _Asking) -> None:
        self._unread.discard(one)
        self._selector.unregister(one.connection)

    def _drop(self, one: _Asking) -> None:
        self._forget(one)
        one.connection.close()

    def _drain_wakes(self) -> None:
        try:
            self._wake_out.recv(4096)
        except OSError:
            pass

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"\0")
        except OSError:
            pass  # full: a wake-up is under way; closed: nobody is left to wake


def backlog(count: int) -> int:
    """How many connections may wait to be accepted, for `count` slots: fronts dial many at once."""
    return max(count, _BACKLOG)
