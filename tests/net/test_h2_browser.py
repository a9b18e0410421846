"""HTTP/2 with Chromium: pages, a hundred requests at once, bodies, events, a WebSocket on the same connection."""

import base64
import hashlib
import json
import queue
import shutil
import subprocess

import pytest

from duck.wire.fields import get
from duck.wire.head import ResponseHead
from tests.certificates import Authority
from tests.net.front import Body
from tests.net.secure import Served

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

PAGE = """<!doctype html><title>-</title><body><script>
const say = text => fetch("/found", {method: "POST", body: text});
const socket = () => new Promise((resolve, reject) => {
  const open = new WebSocket(location.origin.replace("https", "wss") + "/ws");
  const heard = [];
  open.onopen = () => { open.send("one"); open.send("x".repeat(70000)) };
  open.onmessage = event => {
    heard.push(event.data.length);
    if (heard.length == 2) open.close(1000);
  };
  open.onclose = event => resolve([heard, event.code, event.wasClean]);
  open.onerror = () => reject("no socket");
});
const events = () => new Promise(resolve => {
  const source = new EventSource("/events"), heard = [];
  source.onmessage = event => { heard.push(event.data); if (heard.length == 3) { source.close(); resolve(heard) } };
});
(async () => {
  const many = await Promise.all([...Array(100).keys()].map(n => fetch(`/n/${n}`).then(answer => answer.text())));
  const big = new Uint8Array(1 << 20).map((_, at) => at % 251);
  const back = new Uint8Array(await (await fetch("/", {method: "POST", body: big})).arrayBuffer());
  const aborted = new AbortController();
  const slow = fetch("/slow", {signal: aborted.signal}).catch(error => error.name);
  aborted.abort();
  const protocols = new Set(performance.getEntriesByType("resource").map(entry => entry.nextHopProtocol));
  return {
    many: many.every((text, n) => text == `/n/${n}`), same: big.every((byte, at) => byte == back[at]),
    aborted: await slow, events: await events(), socket: await socket(), protocols: [...protocols],
  };
})().then(found => say(JSON.stringify(found)), error => say("failed: " + error));
</script>"""


class Site:
    """Answers what the page asks."""

    def __init__(self):
        self.sockets = []
        self.found = queue.Queue()

    def handle(self, exchange):
        target = exchange.request.target
        if exchange.request.upgrade is not None:
            self.open(exchange)
        elif exchange.request.method == b"POST":
            body = Body()
            body.on_end = lambda: self.take(exchange, bytes(body.data_seen))
            exchange.read_body(body)
        elif target == b"/":
            head = ResponseHead(
                200, [(b"Content-Type", b"text/html"), (b"Set-Cookie", b"a=b"), (b"Set-Cookie", b"c=d")]
            )
            exchange.response.answer(head, PAGE.encode())
        elif target == b"/slow":
            return
        elif target == b"/events":
            exchange.response.head(ResponseHead(200, [(b"Content-Type", b"text/event-stream")]))
            for number in range(3):
                exchange.response.data(b"data: %d\n\n" % number)
        else:
            exchange.response.answer(ResponseHead(200, []), target)

    def take(self, exchange, data):
        """A body is sent back; what the page has found is kept."""
        if exchange.request.target == b"/found":
            self.found.put(data.decode())
        exchange.response.answer(ResponseHead(200, []), data)

    def open(self, exchange):
        """Echo each message; the frames of the browser are masked, and answered as they are without it."""
        key = get(exchange.request.fields, b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.sockets.append(exchange.request.version)
        duplex = exchange.response.upgrade(ResponseHead(101, [(b"Sec-WebSocket-Accept", accept)]))
        duplex.connect(Echo(duplex))


class Echo:
    """The other end of a WebSocket, for unfragmented messages."""

    def __init__(self, duplex):
        self.duplex = duplex
        self.buffer = b""

    def duplex_data(self, data):
        self.buffer += data
        while len(self.buffer) >= 2:
            size, at = self.buffer[1] & 127, 2
            if size >= 126:
                at = 4 if size == 126 else 10
                size = int.from_bytes(self.buffer[2:at], "big")
            end = at + 4 + size
            if len(self.buffer) < end:
                return
            mask, payload = self.buffer[at : at + 4], self.buffer[at + 4 : end]
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            head = bytes((self.buffer[0], self.buffer[1] & 127)) + self.buffer[2:at]
            self.buffer = self.buffer[end:]
            self.duplex.write(head + payload)
            if head[0] & 15 == 8:
                self.duplex.close()
                return

    def duplex_eof(self):
        self.duplex.write_eof()

    def duplex_lost(self, error): ...
    def duplex_pause(self): ...
    def duplex_resume(self): ...


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_chromium(tmp_path):
    site = Site()
    authority = Authority(tmp_path / "ca")
    served = Served(authority.issue("127.0.0.1"), answer=site.handle, protocols=("h2", "http/1.1"))
    try:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
        url = f"https://127.0.0.1:{served.address[1]}/"
        browser = subprocess.Popen([*command, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = site.found.get(timeout=50)
        finally:
            browser.terminate()
            browser.wait(10)
        assert found.startswith("{"), found
        found = json.loads(found)
    finally:
        served.close()
    assert found == {
        "many": True,
        "same": True,
        "aborted": "AbortError",
        "events": ["0", "1", "2"],
        "socket": [[3, 70_000], 1000, True],
        "protocols": ["h2"],
    }
    assert site.sockets == [20], "the WebSocket has a stream of the same connection"
    assert served.worker.server.refused_count == 0
