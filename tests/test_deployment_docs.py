"""The files that the pages on deployment show are what systemd, nginx, Docker, gunicorn and Duck itself understand."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from duck.cli.main import cli
from duck.settings.schema import NAMES

HOW_TO = Path(__file__).resolve().parent.parent / "docs" / "how-to"
SYSTEMD, CONTAINER, BALANCER, MOVING = PAGES = [
    HOW_TO / f"{name}.md" for name in ("systemd", "container", "behind-a-balancer", "moving-from-nginx-and-gunicorn")
]

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Names in capitals that are not Duck's: Django's, the environment's, methods and the like.
OTHERS = {
    "ALLOWED_HOSTS", "CONN_MAX_AGE", "MEDIA_ROOT", "MEDIA_URL", "PYTHONUNBUFFERED", "RUNTIME_DIRECTORY",
    "SECURE_PROXY_SSL_HEADER", "SECURE_SSL_REDIRECT", "STATIC_ROOT", "STATIC_URL", "USE_X_FORWARDED_HOST",
    "WEB_CONCURRENCY", "WSGI_APPLICATION", "XDG_RUNTIME_DIR", "REMOTE_ADDR", "AF_NETLINK", "AF_UNIX", "AF_INET",
    "AF_INET6", "CAP_NET_BIND_SERVICE",
}  # fmt: skip


def examples(page: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(page.read_text("utf-8")) if found == language]


def units() -> dict[str, str]:
    """By file name, as the first line of each says; the drop-in has none."""
    found = {}
    for body in examples(SYSTEMD, "ini"):
        named = re.match(r"# /etc/systemd/system/(\S+)\n", body)
        found[named[1] if named else "drop-in.conf"] = body
    return found


def parsed(unit: str) -> configparser.ConfigParser:
    # A line that stands twice, as `ExecStart=` does to be emptied first, is allowed in units.
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit)
    return parser


def duck_commands() -> Iterator[tuple[str, list[str]]]:
    """The commands in units and in the Dockerfile; those after `$` are another test's."""
    for name, body in units().items():
        for line in re.findall(r"^Exec\w+=(.+)$", body, re.MULTILINE):
            yield name, shlex.split(line)
    for body in examples(CONTAINER, "dockerfile"):
        for line in re.findall(r"^CMD (\[.*\])$", body, re.MULTILINE):
            yield "Dockerfile", ["/opt/duck/bin/duck", *json.loads(line)]


COMMANDS = list(duck_commands())


@pytest.mark.parametrize(("where", "command"), COMMANDS, ids=[f"{where} {words[1]}" for where, words in COMMANDS])
def test_commands_in_files_have_their_options(where: str, command: list[str]) -> None:
    program, name, *words = command
    assert program == "/opt/duck/bin/duck"
    found = cli.get_command(click.Context(cli), name)
    assert found is not None, f"{where}: there is no command {name}"
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {name.removeprefix("DUCK_") for name in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", text)} - OTHERS
    options = {option for setting in NAMES.values() for flag in setting.flags for option in flag.split("/")}
    assert named <= set(NAMES)
    if page != MOVING:  # that one names other programs' options
        said = {word for word in re.findall(r"`(--[a-z0-9-]+)[ `]", text)} - {"--init", "--stop-timeout", "--cpus"}
        assert said <= {*options, "--self", "--read-only"}
    for body in examples(page, "toml"):
        assert {name.upper() for name in tomllib.loads(body)} <= set(NAMES)


def test_every_option_of_the_second_column_is_ducks() -> None:
    known = {option for setting in NAMES.values() for flag in setting.flags for option in flag.split("/")}
    known |= {"--mode", "--self"}
    for row in re.findall(r"^\| .+? \| (.+) \|$", MOVING.read_text("utf-8"), re.MULTILINE):
        assert set(re.findall(r"`[^`]*?(--[a-z0-9-]+)", row)) <= known, row


class TestSystemd:
    def test_the_units_end_in_order_and_are_watched(self) -> None:
        service = parsed(units()["shop.service"])["Service"]
        assert (service["Type"], service["KillMode"], service["SuccessExitStatus"]) == ("notify", "mixed", "143")
        assert int(service["WatchdogSec"]) > 0
        kinds = ("SHUTDOWN_TIMEOUT", "STREAMS_CLOSE_TIMEOUT", "SOCKETS_CLOSE_TIMEOUT")
        longest = max(float(NAMES[name].default) for name in kinds)
        assert float(service["TimeoutStopSec"]) > NAMES["DRAIN_DELAY"].default + longest + 5
        assert float(service["TimeoutStartSec"]) > NAMES["DJANGO_SERVER_WAIT_TIME"].default
        assert parsed(units()["shop.socket"])["Socket"]["ListenStream"] == "80"

    @pytest.mark.parametrize("with_socket", [True, False])
    def test_systemd_understands_them(self, tmp_path: Path, with_socket: bool) -> None:
        program = shutil.which("systemd-analyze")
        if program is None:
            pytest.skip("there is no systemd-analyze here; the units are only parsed")
        duck = tmp_path / "duck"
        duck.write_text("#!/bin/sh\n")
        duck.chmod(0o755)
        text = units()["shop.service"].replace("/opt/duck/bin/duck", str(duck)).replace("=shop\n", "=root\n")
        if with_socket:
            (tmp_path / "shop.socket").write_text(units()["shop.socket"])
        else:
            text = re.sub(r"^Requires=.*\n|shop\.socket ", "", text, flags=re.MULTILINE)
            (tmp_path / "shop.service.d").mkdir()
            drop_in = units()["drop-in.conf"].replace("/opt/duck/bin/duck", str(duck))
            (tmp_path / "shop.service.d" / "own.conf").write_text(drop_in)
        (tmp_path / "shop.service").write_text(text)
        names = ["shop.service", "shop.socket"] if with_socket else ["shop.service"]
        done = subprocess.run(
            [program, "verify", "--man=no", "--generators=no", *names],
            cwd=tmp_path, capture_output=True, text=True, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin"},
        )  # fmt: skip
        # What the machine's own units say is not ours.
        told = [line for line in done.stderr.splitlines() if "shop" in line or str(tmp_path) in line]
        assert (done.returncode, told) == (0, []), done.stderr


class TestNginx:
    @pytest.mark.parametrize("page", [BALANCER, MOVING], ids=lambda page: page.stem)
    def test_nginx_understands_its_files(self, page: Path, tmp_path: Path) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("there is no nginx here")
        (body,) = examples(page, "nginx")
        body = body.replace("/var/log/nginx", str(tmp_path))
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            body += f"\n{name}_temp_path {tmp_path}/{name};"
        file = tmp_path / "nginx.conf"
        file.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{body}\n}}\n")
        done = subprocess.run([program, "-t", "-p", tmp_path, "-c", file], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


class TestGunicorn:
    def test_its_command_and_the_options_of_the_table_are_its_own(self) -> None:
        config = pytest.importorskip("gunicorn.config")
        (script,) = examples(MOVING, "sh")
        command = script.replace("\\\n", "").splitlines()[0]
        parser = config.Config().parser()
        said = parser.parse_args(shlex.split(command)[1:])
        assert (said.workers, said.threads, said.timeout, said.max_requests) == (4, 8, 60, 10_000)
        table = MOVING.read_text("utf-8").partition("## gunicorn")[2].partition("## Change over")[0]
        known = {option for action in parser._actions for option in action.option_strings}
        for column in re.findall(r"^\| (.+?) \| .+ \|$", table, re.MULTILINE):
            assert set(re.findall(r"`(--?[a-z-]+)", column)) - {"-fields", "-field_size", "-field"} <= known, column


class TestContainer:
    def test_the_image_runs_duck_as_process_1_without_a_shell(self) -> None:
        (text,) = examples(CONTAINER, "dockerfile")
        steps = dict(re.findall(r"^(ENTRYPOINT|STOPSIGNAL|USER|FROM) (.+)$", text, re.MULTILINE))
        assert json.loads(steps["ENTRYPOINT"]) == ["/opt/duck/bin/duck"]
        assert steps["STOPSIGNAL"] == "SIGTERM"
        assert steps["USER"].isdecimal()  # for Kubernetes' runAsNonRoot, which knows no names
        found = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.+\])$", text, re.MULTILINE)
        assert found is not None
        program, option, script = json.loads(found[1])
        assert (program, option) == ("python", "-c")
        compile(script, "HEALTHCHECK", "exec")
        assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode != 0  # nobody is there
