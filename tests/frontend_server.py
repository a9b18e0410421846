"""A front-end development server that behaves as Vite does, for tests: run as a file, in a directory of its own.

It serves the files of its directory below --base, says where it listens, refuses names that it does not know, and has a
hot-reload socket. What `vite.config.js` says decides how its start ends. Standard library only.
"""

import argparse
import base64
import hashlib
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    base = "/"

    def do_GET(self):
        host = self.headers["Host"]
        if host.partition(":")[0] not in ("localhost", "127.0.0.1"):
            self.answer(403, b"Blocked request. This host is not allowed.")
        elif "Upgrade" in self.headers:
            self.upgrade()
        elif self.path == self.base + "@vite/quit":
            os._exit(3)
        elif self.path.startswith(self.base + "@vite/"):
            told = {"path": self.path, "pid": os.getpid(), "fields": dict(self.headers.items())}
            self.answer(200, json.dumps(told).encode(), "application/json")
        else:
            name = self.path.removeprefix(self.base).partition("?")[0] or "index.html"
            file = Path(name)
            if file.is_file():
                self.answer(200, b"served: " + file.read_bytes(), "text/javascript")
            else:
                self.answer(404, b"")

    do_HEAD = do_GET

    def answer(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def upgrade(self):
        protocol = self.headers.get("Sec-WebSocket-Protocol", "")
        if protocol not in ("vite-hmr", "vite-ping"):
            self.answer(400, b"")
            return
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + GUID).digest()).decode())
        self.send_header("Sec-WebSocket-Protocol", protocol)
        self.end_headers()
        text = json.dumps({"type": "connected", "origin": self.headers.get("Origin"), "path": self.path}).encode()
        self.wfile.write(bytes([0x81, 126]) + len(text).to_bytes(2, "big") + text)
        self.connection.recv(4096)  # a Close, or the end
        self.close_connection = True

    def log_message(self, *args):
        pass


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="/static/")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--child", action="store_true")
    given = parser.parse_args()
    config = Path("vite.config.js").read_text() if Path("vite.config.js").is_file() else ""
    if "broken" in config:
        say("failed to load config from vite.config.js\nerror when starting dev server:\nError: it is broken")
        sys.exit(1)
    if given.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if given.child and os.fork() == 0:
        signal.pause()
    Handler.base = given.base
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    where = f"http://localhost:\x1b[1m{server.server_port}\x1b[22m{given.base}"
    say(f"\n  \x1b[32m➜\x1b[39m  \x1b[1mLocal\x1b[22m:   \x1b[36m{where}\x1b[39m")
    say("x" * 100_000 if "verbose" in config else "  press h + enter to show help")
    server.serve_forever()


if __name__ == "__main__":
    main()
