"""Two copies of one project, one served straight and one by Duck: asked the same, and held against each other.

What may differ is listed here, each with its reason; all else is a failure.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os.path import commonpath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.projects.browser import HOST, Answer, Browser, Fields, Page, Upload, page

if TYPE_CHECKING:
    from tests.projects.site import Site

# Fields of one connection, or of the server's own: a proxy writes its own.
OF_THE_SERVER = {
    "date": "the time of the answer",
    "server": "the straight answer names Python's or the ASGI server's version; Duck names nobody",
    "connection": "of one hop (RFC 9110, section 7.6.1); Python's server closes where it has no Content-Length",
    "keep-alive": "of one hop",
    "transfer-encoding": "of one hop; the straight answer without Content-Length ends with the connection",
}
# Static and media files are answered by Duck and not by django.views.static: docs/explanation/static-and-media.md.
OF_DUCKS_FILES = {
    "accept-ranges": "Duck answers ranges",
    "access-control-allow-origin": "as WhiteNoise sends it",
    "cache-control": "Duck says that a file is to be asked for again",
    "content-disposition": "static.serve says `inline`, which is what holds without it",
    "content-security-policy": "the sandbox of active types in media",
    "cross-origin-opener-policy": "written by SecurityMiddleware into answers that are Django's",
    "etag": "Duck tags files",
    "last-modified": "compared below by conditional requests; a 304 of static.serve leaves it out",
    "referrer-policy": "written by SecurityMiddleware",
    "vary": "written by the session's and the locale's middleware into answers that are Django's",
    "x-content-type-options": "Duck says it of media; SecurityMiddleware of what Django answers",
    "x-frame-options": "written by XFrameOptionsMiddleware into answers that are Django's",
    "content-language": "written by LocaleMiddleware",
}
# Content types of files, as WhiteNoise names them, too: text is told to be UTF-8, and the icon's older name.
TYPES_OF_FILES = [
    (r"(?<=^content-type: )(\S+); charset=utf-8$", r"\1"),
    (r"image/vnd\.microsoft\.icon", "image/x-icon"),
]
# What two runs of the same project say differently, by the name it is given instead.
NORMAL: list[tuple[str, str]] = [
    (r"[A-Za-z0-9]{64}", "CSRF"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b\d{1,2}(:\d\d){1,2}(\.\d+)?( [ap]\.m\.)?(\b|(?<=\.))|\b\d{1,2} [ap]\.m\.|\bnoon\b|\bmidnight\b", "TIME"),
    (r"(Just now|\b\d+(\xa0| |&nbsp;)(second|minute)s?( ago)?)", "AGE"),
    (r"(?<=sessionid=)\w+", "SESSION"),
    (r"(?<=csrftoken=)\w+", "CSRF"),
    (r"expires=[^;]+", "expires=DATE"),
    (r"(?<=messages=)[^;]+", "SIGNED"),
    (r"<bdi>[\w/+]{2,6}\*+</bdi>", "<bdi>HASH</bdi>"),
    (r"0x[0-9a-f]{6,}", "ADDRESS"),
]


@dataclass
class Difference:
    """One thing that the two said differently."""

    request: str
    what: str
    straight: object
    duck: object

    def __str__(self) -> str:
        return f"{self.request}\n  {self.what}\n    straight {self.straight!r}\n    Duck     {self.duck!r}"


@dataclass
class Pair:
    """The two sites, with one visitor each.

    Attributes:
        differences: all that was found and is not allowed for.
        asked: how many requests were compared.
        normal: pairs of pattern and replacement, for what else this project says differently each time.
    """

    straight: Site
    duck: Site
    normal: list[tuple[str, str]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self._one, self._other = Browser(self.straight.port), Browser(self.duck.port)
        self._threads = ThreadPoolExecutor(2)

    def fresh(self) -> None:
        """Go on as a visitor who has no cookies."""
        self._one.cookies.clear()
        self._other.cookies.clear()

    @property
    def cookies(self) -> tuple[dict[str, str], dict[str, str]]:
        """Those of the straight site's visitor, and those of Duck's."""
        return self._one.cookies, self._other.cookies

    def close(self) -> None:
        self._threads.shutdown()
        self._one.close()
        self._other.close()

    def both(self, act: Callable[[Browser], Answer], request: str) -> tuple[Answer, Answer]:
        """Let both visitors do the same at the same time, and compare what they get."""
        one, other = self._threads.submit(act, self._one), self._threads.submit(act, self._other)
        straight, duck = one.result(), other.result()
        self.compare(request, straight, duck)
        return straight, duck

    def ask(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        """Send one request to both; Duck's answer."""
        fields = list(fields)
        return self.both(lambda browser: browser.ask(method, target, fields, body), f"{method} {target} {fields}")[1]

    def duck_alone(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        """Ask Duck only, where what the straight server does is its own way."""
        return self._other.ask(method, target, fields, body)

    def straight_alone(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        return self._one.ask(method, target, fields, body)

    def get(self, target: str, *fields: tuple[str, str]) -> Answer:
        return self.ask("GET", target, fields)

    def follow(self, answer: Answer) -> Answer:
        """Go where a redirect points to."""
        location = urlsplit(answer.field("Location") or "")
        assert location.path, f"{answer.status} is no redirect: {answer.text[:2000]}"
        return self.get(location.path + (f"?{location.query}" if location.query else ""))

    def submit(
        self,
        target: str,
        *names: str,
        files: dict[str, Upload] | None = None,
        fields: Fields = (),
        shown: Fields = (),
        **values: str,
    ) -> Answer:
        """Open the page at `target` on both, fill in its form with the controls `names` and send it; Duck's answer.

        `shown` are fields of the request for the page, `fields` of the one that sends the form.
        """
        controls = names or tuple(values)
        asked, kept = list(shown), list(fields)

        def act(browser: Browser) -> Answer:
            form = page(browser.ask("GET", target, asked), target).form(*controls)
            content_type, body = form.encode(values, files or {})
            url = urlsplit(form.action)
            where = url.path + (f"?{url.query}" if url.query else "")
            if form.method == "get":
                return browser.ask("GET", f"{url.path}?{body.decode()}")
            sent = [("Content-Type", content_type), ("Origin", f"http://{HOST}"), ("Referer", f"http://{HOST}{target}")]
            return browser.ask("POST", where, [*sent, *kept], body)

        return self.both(act, f"form of {target}")[1]

    def crawl(self, *starts: str, limit: int, leave_out: str = r"logout") -> list[str]:
        """Visit what can be reached from `starts`, at most `limit` targets and as many files; all but files.

        Of pages whose targets differ in numbers and in values of the query alone, one is visited.
        """
        waiting, seen = deque(starts), {kind_of(target) for target in starts}
        visited: list[str] = []
        files = 0
        while waiting and len(visited) < limit:
            target = waiting.popleft()
            if target.startswith("/static/") and target not in starts:
                files += 1
                if files > limit:
                    continue
            else:
                visited.append(target)
            answer = self.get(target)
            links = page(answer, target).targets() if answer.is_page else []
            if answer.field("Location"):
                links += Page(f"http://{HOST}{target}", f'<a href="{answer.field("Location")}">').targets()
            for link in links:
                kind = kind_of(link)
                if kind not in seen and not re.search(leave_out, link):
                    seen.add(kind)
                    waiting.append(link)
        return visited

    def conditional(self, target: str) -> None:
        """HEAD, and GET with every condition that each answer allows; the visitors hold different validators."""
        self.ask("HEAD", target)
        one, other = self._one.ask("GET", target), self._other.ask("GET", target)
        for name, condition in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
            values = {self._one: one.field(name), self._other: other.field(name)}
            if all(values.values()):
                self.both(
                    lambda browser, condition=condition, values=values: browser.ask(
                        "GET", target, [(condition, values[browser])]
                    ),
                    f"GET {target} {condition}",
                )

    # -- comparison -------------------------------------------------------------------------------------------------

    def compare(self, request: str, straight: Answer, duck: Answer) -> None:
        self.asked += 1

        def note(what: str, one: object, other: object) -> None:
            self.differences.append(Difference(request, what, one, other))

        if (straight.status, straight.reason) != (duck.status, duck.reason):
            note("status", (straight.status, straight.text[-300:]), (duck.status, duck.text[-300:]))
            return
        is_file = self.is_file(duck)
        one, other = self.fields(straight, is_file), self.fields(duck, is_file)
        if one != other:
            note("fields", [line for line in one if line not in other], [line for line in other if line not in one])
        if straight.body == duck.body:
            one_length, other_length = straight.field("Content-Length"), duck.field("Content-Length")
            if straight.body and one_length and one_length != other_length:
                note("Content-Length", one_length, other_length)
            return
        first = self.normalise(straight.text, self.straight).splitlines()
        second = self.normalise(duck.text, self.duck).splitlines()
        if first != second:
            lines = [around(a, b) for a, b in zip(first, second, strict=False) if a != b][:5]
            note(f"body ({len(first)} and {len(second)} lines)", [a for a, _ in lines], [b for _, b in lines])

    def is_file(self, answer: Answer) -> bool:
        """Whether Duck answered a static or media file itself: those have tags of its form."""
        return bool(re.fullmatch(r'"[0-9a-f]{8,}-[0-9a-f]+"', answer.field("ETag") or ""))

    def fields(self, answer: Answer, is_file: bool) -> list[str]:
        """The fields that must be equal; their order is kept among those of one name alone."""
        left_out = OF_THE_SERVER | (OF_DUCKS_FILES if is_file else {})
        lines = [
            f"{name.lower()}: {self.normalise(value, None)}"
            for name, value in answer.fields
            if name.lower() not in left_out and name.lower() != "content-length"
        ]
        for pattern, name in TYPES_OF_FILES if is_file else ():
            lines = [re.sub(pattern, name, line) for line in lines]
        return sorted(lines, key=lambda line: line.partition(":")[0])

    def normalise(self, text: str, site: Site | None) -> str:
        if site is not None:
            text = text.replace(str(site.directory), "/project")
        for pattern, name in [*self.normal, *NORMAL]:
            text = re.sub(pattern, name, text)
        return text

    def check(self) -> None:
        """Fail with every difference found since the last check."""
        found, self.differences = self.differences, []
        assert not found, f"{len(found)} differences:\n" + "\n".join(map(str, found[:20]))


def kind_of(target: str) -> str:
    """`/pages/3/?order=title` is as `/pages/4/?order=slug`; a file is as no other."""
    path, _, query = target.partition("?")
    if path.startswith("/static/"):
        return target
    return re.sub(r"\d+", "N", path) + "?" + re.sub(r"=[^&]*", "", query)


def around(one: str, other: str) -> tuple[str, str]:
    """Both lines from a little before where they part, for people to read."""
    start = max(0, len(commonpath((one, other))) - 60)
    return one[start : start + 300], other[start : start + 300]
