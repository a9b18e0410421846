"""A directory of files with its handler, and requests to it: what the tests of static and media files share."""

import os

from duck.http.file_cache import SMALL_BYTES
from duck.testing import record_exchange

PAST = 1_700_000_000
LARGE = os.urandom(SMALL_BYTES + 1000)
SMALL = b"body { color: red }\n" * 10


class Now:
    """A clock that a test moves."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


class Django:
    """Takes the misses."""

    def __init__(self):
        self.taken = []

    def handle(self, exchange):
        self.taken.append(exchange.request.target)


class Site:
    """A root, its handler, and requests to it."""

    def __init__(self, root, make):
        self.root = root
        self.now = Now()
        self.django = Django()
        self.handler = make(self)

    def write(self, name, data, age=0):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (PAST - age, PAST - age))
        return path

    def ask(self, target, *fields, method=b"GET", stream=None):
        exchange, stream = record_exchange(method, target, list(fields), stream=stream)
        self.handler.handle(exchange)
        return stream

    def misses(self, target, **more):
        """Whether `target` went to Django, unanswered."""
        before = len(self.django.taken)
        stream = self.ask(target, **more)
        passed = len(self.django.taken) > before
        assert passed == (stream.head is None)
        return passed
