"""A client that keeps cookies, reads links and forms, and changes nothing of what it is told to send."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import quote, urlencode, urljoin, urlsplit

HOST = "localhost:8000"  # what every request says, whatever port it goes to: so answers that name it can be compared
DEADLINE_S = 30.0
BOUNDARY = "a-boundary-that-no-file-has"

Fields = Iterable[tuple[str, str]]
Upload = tuple[str, str, bytes]  # file name, content type, content


@dataclass
class Answer:
    """What came back for one request; `fields` in their order, duplicates kept."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def field(self, name: str) -> str | None:
        """The value of the first field of that name."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def is_page(self) -> bool:
        return (self.field("Content-Type") or "").startswith("text/html")


class Browser:
    """One visitor of the server at `port` of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)

    def ask(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        """Send a request with `target` as it is, and read its answer to the end."""
        try:
            return self._ask(method, target, fields, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._connection.close()  # a kept connection that the server has closed meanwhile
            return self._ask(method, target, fields, body)

    def _ask(self, method: str, target: str, fields: Fields, body: bytes | None) -> Answer:
        fields = list(fields)
        connection = self._connection
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if not any(name.lower() == "host" for name, _ in fields):
            connection.putheader("Host", HOST)
        if self.cookies:
            connection.putheader("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        for name, value in fields:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        with connection.getresponse() as response:
            answer = Answer(response.status, response.reason, response.getheaders(), response.read())
        for name, value in answer.fields:
            if name.lower() == "set-cookie":
                self._keep(value)
        return answer

    def close(self) -> None:
        self._connection.close()

    def _keep(self, value: str) -> None:
        for morsel in SimpleCookie(value).values():
            if morsel["max-age"] == "0" or "1970" in morsel["expires"]:
                self.cookies.pop(morsel.key, None)
            else:
                self.cookies[morsel.key] = morsel.coded_value


@dataclass
class Form:
    """A form of a page with the values it was shown with."""

    action: str
    method: str = "get"
    multipart: bool = False
    values: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def filled(self, values: dict[str, str]) -> list[tuple[str, str]]:
        """The values to send: `values` in the place of what the page showed."""
        kept = [(name, value) for name, value in self.values if name not in values]
        return kept + list(values.items())

    def encode(self, values: dict[str, str], files: dict[str, Upload]) -> tuple[str, bytes]:
        """The content type and body of the form, filled in (RFC 7578 where it has files)."""
        pairs = self.filled(values)
        if not self.multipart and not files:
            return "application/x-www-form-urlencoded", urlencode(pairs).encode()
        parts: list[bytes] = []
        for name, value in pairs:
            parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        for name, (file_name, content_type, content) in files.items():
            disposition = f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"'
            parts.append(f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode())
            parts.append(content + b"\r\n")
        parts.append(f"--{BOUNDARY}--\r\n".encode())
        return f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts)


class Page(HTMLParser):
    """The links and forms of an HTML page."""

    def __init__(self, url: str, text: str) -> None:
        super().__init__()
        self.url = url
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select: str | None = None
        self._textarea: str | None = None
        self._option: str | None = None
        self._multiple = False
        self._text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        link = given.get("href") if tag in ("a", "link") else given.get("src")
        if link is not None and tag != "form":
            self.links.append(link)
        if tag == "form":
            self._form = Form(
                urljoin(self.url, given.get("action") or ""),
                given.get("method", "get").lower(),
                given.get("enctype") == "multipart/form-data",
            )
            self.forms.append(self._form)
        elif self._form is not None and given.get("name") and "disabled" not in given:
            self._control(self._form, tag, given)
        elif tag == "option" and self._form is not None and self._select is not None:
            if "selected" in given:
                self._form.values.append((self._select, given.get("value", "")))
                self._option = None
            elif self._option == "":
                self._option = given.get("value", "")

    def _control(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, kind = given["name"], given.get("type", "text").lower()
        form.names.add(name)
        if tag == "select":
            self._select, self._option = name, None if "multiple" in given else ""
        elif tag == "textarea":
            self._textarea, self._text = name, ""
        elif tag == "input":
            if kind == "file":
                form.files.append(name)
            elif kind in ("checkbox", "radio"):
                if "checked" in given:
                    form.values.append((name, given.get("value", "on")))
            elif kind not in ("submit", "button", "image", "reset"):
                form.values.append((name, given.get("value", "")))

    def handle_data(self, data: str) -> None:
        if self._textarea is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._form is not None and self._textarea is not None:
            self._form.values.append((self._textarea, self._text.removeprefix("\n")))
            self._textarea = None
        elif tag == "select" and self._form is not None and self._select is not None:
            if self._option:
                self._form.values.append((self._select, self._option))
            self._select = self._option = None

    def targets(self) -> list[str]:
        """The links to the same server, as request targets, in their order and without repetition."""
        found: dict[str, None] = {}
        for link in self.links:
            try:
                url = urlsplit(urljoin(self.url, link.strip()))
            except ValueError:
                continue
            if url.scheme == "http" and url.netloc == HOST:
                target = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
                found[target + ("?" + quote(url.query, safe="%=&+/:;,@!$'()*?~-._") if url.query else "")] = None
        return list(found)

    def form(self, *names: str) -> Form:
        """The form that has all these controls."""
        for form in self.forms:
            if form.names.issuperset(names):
                return form
        raise AssertionError(f"no form of {self.url} has {names}: {[sorted(form.names) for form in self.forms]}")


def page(answer: Answer, target: str) -> Page:
    return Page(f"http://{HOST}{target}", answer.text)
