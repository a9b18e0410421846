"""The command line as a user meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import duck
from duck.cli.clash import clash_sentence
from duck.cli.main import cli
from duck.cli.page import cli_page
from duck.cli.runserver import runserver

ROOT = Path(duck.__file__).resolve().parents[1]


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DUCK_")}
    return subprocess.run(
        [sys.executable, "-m", "duck", *arguments],
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(cwd)} | environ,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_help_names_every_command_and_imports_none_of_them(tmp_path: Path) -> None:
    source = (
        "import sys\nsys.argv = ['duck', '--help']\nfrom duck.__main__ import main\ncode = main()\n"
        "heavy = {'asyncio', 'psutil', 'uvloop', 'django', 'httpx', 'duck.cli.runserver', 'duck.settings.schema'}\n"
        "print(sorted(heavy & set(sys.modules)), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "runserver" in done.stdout
    assert done.stdout.endswith("[] 0\n")


def test_the_help_comes_at_once(tmp_path: Path) -> None:
    """By the processor's time: on a busy machine any process waits for its turn."""

    def spent(call: Callable[[], object]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def bare() -> object:
        return subprocess.run([sys.executable, "-c", "import click"], timeout=30, check=True)

    helped = min(spent(lambda: run("--help", cwd=tmp_path)) for _ in range(3))
    assert helped < min(spent(bare) for _ in range(3)) + 0.1


def test_the_version_is_said(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout == f"duck {duck.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["runsrver"], 2, "No such command 'runsrver'; did you mean runserver?"),
        (["zzz"], 2, "No such command 'zzz'"),
        (["runserver", "abc"], 2, "'abc' is not an address to listen at: give PORT, ADDRESS:PORT or [IPV6]:PORT."),
        (["runserver", "8001", "-p", "1"], 2, "8001 and --address, --port or --listen say where to listen; keep one"),
        (["settings", "-p", "http"], 1, "duck: --port: PORT cannot be 'http': give a port from 0 to 65535."),
        (["settings", "prot"], 1, "duck: prot is no setting of Duck; did you mean port?"),
        (["status"], 3, "start one with `duck runserver`."),
        (["stop"], 3, "start one with `duck runserver`."),
        (["completion", "tcsh"], 2, "'tcsh' is not one of"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_errors_are_json_where_json_was_asked_for(tmp_path: Path) -> None:
    done = run("settings", "--json", "--port", "x", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("--port: PORT cannot be 'x'")


def test_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    (tmp_path / "duck.toml").write_text(f"port = 8001\nsecret_key = '{'abcdefgh' * 5}'\n")
    done = run("settings", "--name", "a", "--given", cwd=tmp_path, DUCK_ADDRESS="::1", DUCK_PROT="1")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["SECRET_KEY", "********", f"{tmp_path}/duck.toml:2"],
        ["ADDRESS", "::1", "environment", "DUCK_ADDRESS"],
        ["PORT", "8001", f"{tmp_path}/duck.toml:1"],
        ["NAME", "a", "command", "line", "--name"],
    ]
    assert "DUCK_PROT is no setting of Duck and has no effect; did you mean DUCK_PORT?" in done.stderr
    told = json.loads(run("settings", "--json", "--listen", "fd:3", "--listen", "unix:x", cwd=tmp_path).stdout)
    assert told["PORT"] == {
        "value": 8001,
        "origin": {"source": "file", "where": f"{tmp_path}/duck.toml:1"},
        "unit": "",
    }
    assert told["LISTEN"]["value"] == ["fd:3", f"unix:{tmp_path}/x"]
    assert told["SECRET_KEY"]["value"] == "********"


def test_status_and_stop_without_a_duck_are_empty_lists_and_code_3(tmp_path: Path) -> None:
    status, stop = run("status", "--json", cwd=tmp_path), run("stop", "--json", cwd=tmp_path)
    assert (json.loads(status.stdout), status.returncode) == ({"instances": []}, 3)
    assert (json.loads(stop.stdout), stop.returncode) == ({"stopped": []}, 3)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_gets_its_completion_script(tmp_path: Path, shell: str) -> None:
    assert "_DUCK_COMPLETE" in run("completion", shell, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("runserver --access-log ", ["plain,dev", "plain,text", "plain,json", "plain,combined", "plain,off"]),
        ("runserver --access-log c", ["plain,combined"]),
        ("runserver --log-level ", ["plain,debug", "plain,info", "plain,warning", "plain,error"]),
        ("settings --log-l", ["plain,--log-level"]),
        ("settings access_", ["plain,access_log"]),
        ("runserver --django ../s", ["file,../s"]),
        ("runserver --state-dir /v", ["dir,/v"]),
        ("status ", ["dir,"]),
        ("completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
        ("makep", ["plain,makeproject"]),
        ("runserver --port ", []),
    ],
)
def test_a_shell_is_offered_commands_options_and_values(tmp_path: Path, words: str, offered: list[str]) -> None:
    line = f"duck {words}"
    done = run(
        cwd=tmp_path,
        _DUCK_COMPLETE="bash_complete",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
    )
    assert done.stderr == ""
    assert done.stdout.split() == offered


def test_every_flag_that_users_know_is_there() -> None:
    flags = {flag for parameter in runserver.params for flag in parameter.opts + parameter.secondary_opts}
    assert flags >= {
        *("-a", "--address", "-p", "--port", "-d", "--domain", "--ipv6", "--listen", "-s", "--settings"),
        *("-dj", "--use-django", "--wsgi", "--asgi", "--name", "--prefix", "--django-threads", "--reload"),
        *("--no-reload", "--python", "--django", "--django-settings", "--state-dir"),
    }


def test_the_reference_page_is_that_of_the_commands() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert page == cli_page(), "run: python -m duck.cli.page > docs/reference/cli.md"


def test_every_command_can_be_imported_and_has_the_sentence_that_the_list_says() -> None:
    from click import Context

    from duck.cli.automations.group import _COMMANDS as OF_AUTOMATIONS
    from duck.cli.automations.group import automations
    from duck.cli.main import _COMMANDS

    for group, commands in ((cli, _COMMANDS), (automations, OF_AUTOMATIONS)):
        for name, (_, _, sentence) in commands.items():
            command = group.get_command(Context(group), name)
            assert command is not None
            assert command.name == name
            assert (command.help or "").startswith(sentence.removesuffix("."))


def test_another_distribution_in_the_package_is_one_sentence(tmp_path: Path) -> None:
    for name, record in (
        ("duckframework-2.3.2", "duck/__init__.py,sha256=x,1\n"),
        ("duck_server-0.1.0", "duck/__init__.py,sha256=x,1\n"),
        ("duckdb-1.0", "duckdb/__init__.py,,\n"),
        ("mallard-1.0", "duck/a.py,,\n"),
    ):
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "RECORD").write_text(record)
    sentence = clash_sentence(tmp_path)
    assert sentence is not None
    assert sentence.startswith("The distribution duckframework has files in the package `duck`")
    assert "`pip uninstall duckframework`" in sentence
    (tmp_path / "duckframework-2.3.2.dist-info" / "RECORD").unlink()
    assert clash_sentence(tmp_path) is None
    assert "mallard" in (clash_sentence(tmp_path, thorough=True) or "")
    assert clash_sentence(tmp_path / "absent") is None


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_the_help_of_every_command_has_an_example_of_it(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert re.search(rf"For example[:,].*duck {name}", command.help or "")


@pytest.mark.skipif(sys.platform == "win32", reason="a directory in use cannot be removed there")
def test_a_working_directory_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    source = "import os, sys; os.rmdir(os.getcwd()); from duck.cli.main import run; sys.exit(run(['status']))"
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=gone,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "duck: The working directory cannot be used (No such file or directory); go to one that exists.\n"
    )


CLOSED = """
import os, sys
for number in (0, 1, 2):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-c", {source!r}])
"""
LOOK = """
import os, sys
sys.path.insert(0, {root!r})
from duck.__main__ import open_standard_streams
open_standard_streams()
print("nowhere", file=sys.stderr)
null = os.stat(os.devnull).st_rdev
good = [os.fstat(number).st_rdev == null and os.get_inheritable(number) for number in (0, 1, 2)]
with open({said!r}, "w") as file:
    file.write(repr((good, sys.stdin.read(), print("nowhere"))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="closes standard streams as a POSIX shell does (<&- >&- 2>&-)")
def test_closed_standard_streams_are_the_null_device(tmp_path: Path) -> None:
    said = tmp_path / "said"
    look = LOOK.format(root=str(ROOT), said=str(said))
    subprocess.run([sys.executable, "-c", CLOSED.format(source=look)], check=True, timeout=30)
    assert said.read_text() == "([True, True, True], '', None)"


def test_ctrl_c_while_the_modules_are_loaded_ends_in_silence(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    # A shell may have had the signal ignored for what it runs in the background.
    source = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom duck.__main__ import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{source}\nraise SystemExit(main())"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
