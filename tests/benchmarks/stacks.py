"""What is compared: one or more servers behind one port."""

from __future__ import annotations

import getpass
import grp
import http.client
import importlib.metadata
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from duck import __version__
from tests.benchmarks.servers import START_TIMEOUT_S, Failed, Missing, Server, free_port

if TYPE_CHECKING:
    from tests.certificates import Pair

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
THREADS = 4  # of every Django server


class Stack:
    """Servers behind one port.

    Args:
        servers: in the order of their start, each with the address at which it is ready.
        path: what is asked, and answered with 200, before anything is measured.
        scheme: `http` or `https`.
    """

    def __init__(
        self,
        name: str,
        servers: list[tuple[Server, str | tuple[str, int]]],
        port: int,
        version: str,
        path: str = "/",
        scheme: str = "http",
    ) -> None:
        self.name = name
        self.port = port
        self.version = version
        self.scheme = scheme
        self._servers = servers
        self._path = path

    def start(self) -> None:
        """Start all; returns when the whole stack answers."""
        for server, address in self._servers:
            server.start()
            server.wait_for(address)
        self._wait_for_answer()

    def stop(self) -> None:
        """End all, the front first."""
        for server, _ in reversed(self._servers):
            server.stop()

    def check(self) -> None:
        """Raise Failed if a server has ended."""
        for server, _ in self._servers:
            server.check()

    def family(self) -> list[psutil.Process]:
        """Every process that counts."""
        return [process for server, _ in self._servers if server.counted for process in server.family()]

    def _connection(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=context)

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        status: object = None
        while time.monotonic() < deadline:
            self.check()
            try:
                connection = self._connection()
                connection.request("GET", self._path)
                status = connection.getresponse().status
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                status = error
            if status == 200:
                return
            time.sleep(0.05)
        outputs = "\n".join(server.output() for server, _ in self._servers)
        raise Failed(f"{self.name} answers {self._path} with {status}, not 200\n{outputs}")


# -- what a proxy alone stands before ---------------------------------------------------------------------------------


class RawBackend:
    """The least that can stand behind a proxy; its CPU time is never counted. Compiled where there is a compiler."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        command = [sys.executable, str(HERE / "backend.py")]
        self.kind = "Python"
        if compiler:
            program = directory / "backend"
            built = subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "backend.c")], capture_output=True)
            if built.returncode == 0:
                command, self.kind = [str(program)], "C"
        self._server = Server("backend", command, directory, counted=False)
        self.port = 0

    def start(self) -> None:
        """Start it and learn its port."""
        self._server.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.output().endswith("\n"):
            self._server.check()
            if time.monotonic() > deadline:
                raise Failed("the backend did not say its port")
            time.sleep(0.01)
        self.port = int(self._server.output())

    def stop(self) -> None:
        """End it."""
        self._server.stop()


# -- nginx ------------------------------------------------------------------------------------------------------------

NGINX_CONFIG = """\
worker_processes {workers};
daemon off;
pid {directory}/nginx-{port}.pid;
error_log {directory}/nginx-{port}-error.log error;
{user}
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    default_type application/octet-stream;
    types {{ text/html html; text/css css; text/plain txt; application/javascript js; }}
    access_log {access_log};
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_max_body_size 1g;
    {file_cache}
    client_body_temp_path {directory}/nginx-{port}-body;
    proxy_temp_path {directory}/nginx-{port}-proxy;
    fastcgi_temp_path {directory}/nginx-{port}-fastcgi;
    uwsgi_temp_path {directory}/nginx-{port}-uwsgi;
    scgi_temp_path {directory}/nginx-{port}-scgi;
    {upstream}
    server {{
        listen 127.0.0.1:{port}{tls};
        {locations}
    }}
}}
"""
# nginx 1.22 leaves TLS 1.3 out by default; with 1.2 wrk resumes sessions, and there is no handshake to measure.
NGINX_TLS = """\
 ssl http2;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {};
        ssl_certificate_key {}"""
NGINX_PROXY = """\
location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }"""


def nginx(
    directory: Path,
    *,
    upstream: str = "",
    static: Path | None = None,
    access_log: bool = False,
    file_cache: bool = False,
    workers: int = 1,
    pair: Pair | None = None,
) -> tuple[Server, int, str]:
    """nginx before `upstream` (`127.0.0.1:port` or `unix:/path`), or for files below `static`, or both.

    With `pair` it speaks TLS, and HTTP/1.1 or HTTP/2 over it.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not program:
        raise Missing("nginx is not installed")
    version = subprocess.run([program, "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    port = free_port()
    locations = []
    if static:
        locations.append(f"location /static/ {{ alias {static}/; }}")
    if upstream:
        locations.append(NGINX_PROXY)
    config = directory / f"nginx-{port}.conf"
    config.write_text(
        NGINX_CONFIG.format(
            directory=directory,
            port=port,
            workers=workers,
            # Started by root, its worker would else be another user, who may not read our directory.
            user=f"user {getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name};" if os.geteuid() == 0 else "",
            access_log=f"{directory}/nginx-{port}-access.log" if access_log else "off",
            file_cache="open_file_cache max=1000; open_file_cache_valid 60s;" if file_cache else "",
            upstream=f"upstream backend {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}"
            if upstream
            else "",
            locations="\n        ".join(locations),
            tls=NGINX_TLS.format(*pair) if pair else "",
        )
    )
    server = Server("nginx", [program, "-p", str(directory), "-c", str(config)], directory)
    return server, port, f"nginx {version}"


# -- Caddy ------------------------------------------------------------------------------------------------------------

CADDYFILE = """\
{{
    admin off
    auto_https off
    storage file_system {directory}/caddy
}}
https://127.0.0.1:{port} {{
    tls {chain} {key}
    {log}
    {directive}
}}
"""


def caddy(
    directory: Path, pair: Pair, *, upstream: str = "", static: Path | None = None, access_log: bool = False
) -> tuple[Server, int, str]:
    """Caddy with TLS before `upstream` (`127.0.0.1:port`), or for files below `static`."""
    program = shutil.which("caddy")
    if not program:
        raise Missing("caddy is not installed")
    version = subprocess.run([program, "version"], capture_output=True, text=True).stdout.split()[0].lstrip("v")
    port = free_port()
    config = directory / f"Caddyfile-{port}"
    config.write_text(
        CADDYFILE.format(
            directory=directory,
            port=port,
            chain=pair[0],
            key=pair[1],
            log=f"log {{\n        output file {directory}/caddy-{port}-access.log\n    }}" if access_log else "",
            directive=f"reverse_proxy {upstream}"
            if upstream
            else f"handle_path /static/* {{\n        root * {static}\n        file_server\n    }}",
        )
    )
    command = [program, "run", "--config", str(config), "--adapter", "caddyfile"]
    environment = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    return Server("caddy", command, directory, environment=environment), port, f"caddy {version}"


# -- Python servers of an application alone, over TLS -----------------------------------------------------------------


def granian_alone(directory: Path, pair: Pair, *, access_log: bool = False) -> tuple[Server, int, str]:
    """granian with TLS, before an application that answers what the hop's backend does."""
    version = installed("granian")
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", "--http", "auto", "--workers", "1"]
    command += ["--ssl-certificate", pair[0], "--ssl-keyfile", pair[1]]
    command += ["--access-log"] if access_log else ["--no-access-log"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(HERE)]
    return Server("granian", [*command, "answer:application"], directory), port, version


def hypercorn_alone(directory: Path, pair: Pair, *, access_log: bool = False) -> tuple[Server, int, str]:
    """hypercorn with TLS and uvloop, before the same application."""
    version = installed("hypercorn")
    port = free_port()
    command = [sys.executable, "-m", "hypercorn", "--certfile", pair[0], "--keyfile", pair[1], "-k", "uvloop"]
    command += ["--bind", f"127.0.0.1:{port}"]
    if access_log:
        command += ["--access-logfile", str(directory / f"hypercorn-{port}-access.log")]
    environment = {"PYTHONPATH": str(HERE)}
    return Server("hypercorn", [*command, "answer:application"], directory, environment=environment), port, version


# -- Django servers ---------------------------------------------------------------------------------------------------


def installed(distribution: str) -> str:
    """Name and version.

    Raises:
        Missing: it is not installed beside Duck.
    """
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        raise Missing(f"{distribution} is not installed") from None


def gunicorn(
    site: Path, directory: Path, bind: str, *, access_log: bool = False, workers: int = 1
) -> tuple[Server, str]:
    """gunicorn: workers of THREADS threads each, bound to `address:port` or `unix:/path`."""
    version = installed("gunicorn")
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "-w", str(workers), "--threads", str(THREADS)]
    command += ["--bind", bind, "--keep-alive", "75", "--worker-tmp-dir", str(directory), "--chdir", str(site)]
    if int(version.split()[1].split(".")[0]) >= 25:
        command.append("--no-control-socket")
    if access_log:
        command += ["--access-logfile", str(directory / "gunicorn-access.log")]
    return Server("gunicorn", [*command, "bench.wsgi:application"], directory), version


def granian(
    site: Path, directory: Path, bind: str, *, access_log: bool = False, workers: int = 1
) -> tuple[Server, str]:
    """granian: WSGI, workers of THREADS threads each, bound to a port or a path."""
    version = installed("granian")
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--http", "1"]
    command += ["--workers", str(workers)]
    command += ["--blocking-threads", str(THREADS), "--working-dir", str(site)]
    command += ["--access-log"] if access_log else ["--no-access-log"]
    command += ["--host", "127.0.0.1", "--port", bind] if bind.isdigit() else ["--uds", bind]
    # A file rather than a pipe takes the log; it is the same for all.
    return Server("granian", [*command, "bench.wsgi:application"], directory), version


def duck(
    directory: Path,
    *,
    site: Path | None = None,
    upstream: tuple[str, int] | None = None,
    access_log: bool = False,
    package: Path = ROOT,
    workers: int = 0,
    pair: Pair | None = None,
) -> tuple[Server, int, str]:
    """`duck` of `package` for the Django project `site`, or for a server that runs already.

    Args:
        workers: of `duck serve`, so many front processes and as many of Django; 0 for `duck runserver`.
        pair: what it speaks TLS with; None for plain HTTP.
    """
    port = free_port()
    state = directory / f"duck-{port}"
    state.mkdir(mode=0o700)
    nothing = directory / f"no-project-{port}"
    nothing.mkdir()
    command = [sys.executable, "-m", "duck", "serve" if workers else "runserver"]
    if pair:
        command += ["--listen", f"https://127.0.0.1:{port}", "--certfile", pair[0], "--keyfile", pair[1]]
    else:
        command += ["--address", "127.0.0.1", "--port", str(port)]
    if workers:
        command += ["--workers", str(workers), "--django-workers", str(workers), "--admin-listen", "off"]
        command += ["--user", getpass.getuser()]  # root has to name who serves
    else:
        command.append("--no-reload")
    command += ["--django-threads", str(THREADS), "--state-dir", str(state)]
    command += ["--access-log", "combined" if access_log else "off"]
    environment = {"PYTHONPATH": str(package), "XDG_RUNTIME_DIR": str(state), "DUCK_PYTHON": sys.executable}
    if upstream:
        environment["DUCK_DJANGO_ADDR"] = f"{upstream[0]}:{upstream[1]}"
    server = Server("duck", command, site or nothing, environment=environment)
    return server, port, f"duck {__version__}"


def machine() -> str:
    """One line: processors, system, Python."""
    model = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        model = found[1] if found else model
    except OSError:
        pass
    memory = psutil.virtual_memory().total / (1 << 30)
    return (
        f"{psutil.cpu_count()} CPUs ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()} "
        f"(yardstick {_yardstick_ms():.0f} ms)"
    )


def _yardstick_ms() -> float:
    """CPU time of a loop of dictionaries, tuples and strings: tells interpreters apart that were built differently."""

    def work() -> int:
        kept: dict[int, tuple[int, str]] = {}
        total = 0
        for number in range(300_000):
            kept[number & 63] = (number, str(number))
            total += len(kept[number & 63][1])
        return total

    taken = []
    for _ in range(5):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken) * 1000
