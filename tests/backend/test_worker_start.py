"""How a worker comes up: what manage.py may do, what it reports, and every way in which it can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backend.conftest import VIEWS
from tests.backend.link_client import TIMEOUT_S, WORKER, LinkClient

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject, MakeWorker

MANAGE = """
import os, sys
{before}
def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
{guard}
"""
GUARD = 'if __name__ == "__main__":\n    main()\n'

ECHO_URLS = """
import json, os, sys
from django.http import HttpResponse
from django.urls import path
from django.conf import settings
def state(request):
    main = sys.modules["__main__"]
    return HttpResponse(json.dumps({
        "argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "main": main.__file__, "main_name": main.__name__,
        "environ": dict(os.environ), "modules": sorted(sys.modules), "extra": getattr(settings, "EXTRA", None),
    }))
urlpatterns = [path("state", state)]
"""


def failure_of(make_worker: MakeWorker, project: Path, **spec: Any) -> dict[str, Any]:
    """The `failed` event of a worker that does not come up; it has ended with the code that says so."""
    worker = make_worker(project, **spec)
    event = worker.event()
    assert event["event"] == "failed", event
    assert worker.event() == {}
    assert worker.process.wait(TIMEOUT_S) == 3
    assert "\n" not in event["message"]
    return event


def state_of(worker: Any) -> dict[str, Any]:
    with worker.wait_ready().client() as client:
        return json.loads(client.get("/state").body)


def test_a_stock_project_tells_its_facts(make_project: MakeProject, make_worker: MakeWorker) -> None:
    project = make_project()
    worker = make_worker(project).wait_ready()
    facts = worker.ready
    assert facts["protocol"] == "link"
    assert facts["entry"] == "mysite.wsgi.application"
    assert facts["slots"] == 2
    assert facts["settings"] == "mysite.settings"
    assert facts["debug"] is True
    assert facts["pid"] == worker.process.pid
    assert facts["sockets_wanted"] is False
    assert facts["base_dir"] == str(project)
    assert facts["static"] == {"installed": True, "url": "/static/", "root": None, "collected": False, "finders": True}
    assert facts["media"]["served"] is False
    assert facts["warnings"] == []
    assert "System check identified no issues" in worker.looked["text"]
    assert "unapplied migration(s)" in worker.looked["text"]
    assert "auth.0001_initial" in worker.looked["unapplied"]


def test_settings_that_matter_to_the_front_are_told(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    settings = (
        "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')\nFORCE_SCRIPT_NAME = '/app'\n"
        "ALLOWED_HOSTS = ['example.org']\nSTATIC_ROOT = BASE_DIR / 'collected'\nDEBUG = False\n"
    )
    project = make_project(settings=settings)
    facts = make_warm_worker(project).wait_ready().ready
    assert facts["secure_proxy_ssl_header"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert facts["force_script_name"] == "/app"
    assert facts["allowed_hosts"] == ["example.org"]
    assert facts["debug"] is False
    assert facts["static"]["url"] == "/app/static/"
    assert facts["static"]["root"] == str(project / "collected")


def test_an_absolute_static_url_is_not_this_servers(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    project = make_project(settings="STATIC_URL = 'https://cdn.example.org/s/'")
    assert make_warm_worker(project).wait_ready().ready["static"]["url"] is None


def test_a_prefix_goes_into_the_urls_of_static_files(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    facts = make_warm_worker(make_project(), prefix="/app").wait_ready().ready
    assert facts["static"]["url"] == "/app/static/"


def test_manage_py_runs_as_it_is_used_to(make_project: MakeProject, make_worker: MakeWorker) -> None:
    project = make_project(urls=ECHO_URLS, files={"apps/__init__.py": "", "other/extra_module.py": "VALUE = 1"})
    before = (
        "sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'other'))\nimport extra_module"
    )
    (project / "manage.py").write_text(MANAGE.format(before=before, settings="mysite.settings", guard=GUARD))
    state = state_of(make_worker(project, environ={"UNRELATED": "1"}))
    assert state["argv"] == ["manage.py", "runserver", "--noreload"]
    assert state["path"][:2] == [str(project / "other"), str(project)]
    assert str(WORKER.parent) not in state["path"]
    assert state["cwd"] == str(project)
    assert state["main"] == str(project / "manage.py")
    assert state["main_name"] == "__main__"
    assert state["environ"]["RUN_MAIN"] == "true"
    assert state["environ"]["UNRELATED"] == "1"
    assert "_DUCK_WORKER" not in state["environ"]
    assert "extra_module" in state["modules"]


AGAIN = """
if os.environ.get("ENTERED") != "1":
    os.environ["ENTERED"] = "1"
    {how}
"""


@pytest.mark.parametrize("call", ["os.execv(sys.executable, {0})", "os.execvpe(sys.executable, {0}, dict(os.environ))"])
def test_a_manage_py_that_starts_itself_again_in_its_place_is_followed(
    make_project: MakeProject, make_worker: MakeWorker, call: str
) -> None:
    project = make_project(urls=ECHO_URLS)
    how = call.format('[sys.executable, "-X", "dev", *sys.argv]')
    manage = MANAGE.format(before=AGAIN.format(how=how), settings="mysite.settings", guard=GUARD)
    (project / "manage.py").write_text(manage)
    state = state_of(make_worker(project))
    assert state["environ"]["ENTERED"] == "1"
    assert "_DUCK_WORKER" not in state["environ"]
    assert state["argv"] == ["manage.py", "runserver", "--noreload"]


def test_a_manage_py_that_starts_itself_again_in_a_child_says_what_to_do(
    make_project: MakeProject, make_worker: MakeWorker
) -> None:
    project = make_project()
    how = "import subprocess; sys.exit(subprocess.call([sys.executable, *sys.argv]))"
    manage = MANAGE.format(before=AGAIN.format(how=how), settings="mysite.settings", guard=GUARD)
    (project / "manage.py").write_text(manage)
    failure = failure_of(make_worker, project)
    assert "starts itself again in a child process" in failure["message"]
    assert "say --python" in failure["message"]


def test_a_manage_py_that_calls_the_command_is_served_in_its_place(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    project = make_project(urls=ECHO_URLS)
    (project / "manage.py").write_text(
        "import os, sys, django\nos.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'\ndjango.setup()\n"
        "from django.core.management import call_command\ncall_command('check')\n"
        "call_command(*sys.argv[1:])\n"
    )
    assert state_of(make_warm_worker(project))["argv"] == ["manage.py", "runserver", "--noreload"]


def test_a_manage_py_that_is_a_link_has_the_packages_beside_the_file(
    make_project: MakeProject, make_warm_worker: MakeWorker, tmp_path: Path
) -> None:
    project = make_project(urls=ECHO_URLS)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "manage.py").symlink_to(project / "manage.py")
    state = state_of(make_warm_worker(tmp_path / "elsewhere"))
    assert (state["path"][0], state["cwd"]) == (str(project), str(tmp_path / "elsewhere"))


def test_nothing_of_duck_is_loaded_by_its_public_name(make_project: MakeProject, make_worker: MakeWorker) -> None:
    modules = state_of(make_worker(make_project(urls=ECHO_URLS)))["modules"]
    assert not [name for name in modules if name == "duck" or name.startswith("duck.")]
    assert not {"pdb", "uvicorn", "channels", "django.core.asgi"} & set(modules)


def test_settings_can_be_named(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    files = {"mysite/other.py": "from mysite.settings import *\nEXTRA = 'other'\n"}
    project = make_project(urls=ECHO_URLS, files=files)
    state = state_of(make_warm_worker(project, settings="mysite.other"))
    assert state["extra"] == "other"
    assert state["argv"][-1] == "--settings=mysite.other"


def test_an_environment_file_loaded_by_manage_py_counts(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    project = make_project(urls=ECHO_URLS, settings="EXTRA = os.environ['EXTRA']\n", files={".env": "EXTRA=from-file"})
    settings = project / "mysite" / "settings.py"
    settings.write_text("import os\n" + settings.read_text())
    before = "os.environ.update(line.split('=') for line in open('.env').read().splitlines())"
    (project / "manage.py").write_text(MANAGE.format(before=before, settings="mysite.settings", guard=GUARD))
    assert state_of(make_warm_worker(project))["extra"] == "from-file"


def test_a_src_layout_works(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    project = make_project(urls=ECHO_URLS)
    (project / "src").mkdir()
    (project / "mysite").rename(project / "src" / "mysite")
    before = "sys.path.append('src')"
    (project / "manage.py").write_text(MANAGE.format(before=before, settings="mysite.settings", guard=GUARD))
    assert "src" in state_of(make_warm_worker(project))["path"]


@pytest.mark.parametrize(
    "manage",
    [
        "from mysite.commands import main\nmain()\n",
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'\n",
    ],
)
def test_serve_finds_the_entry_where_manage_py_does_not_set_the_settings_as_usual(
    make_project: MakeProject, make_warm_worker: MakeWorker, manage: str
) -> None:
    project = make_project()
    (project / "manage.py").write_text(manage)
    ready = make_warm_worker(project, mode="serve").wait_ready().ready
    assert (ready["settings"], ready["entry"]) == ("mysite.settings", "mysite.wsgi.application")


def test_serve_imports_the_entry_and_not_manage_py(make_project: MakeProject, make_worker: MakeWorker) -> None:
    project = make_project(urls=ECHO_URLS, settings="FORCE_SCRIPT_NAME = '/app'")
    wsgi = project / "mysite" / "wsgi.py"
    wsgi.write_text("import os\nos.environ['FROM_WSGI'] = '1'\n" + wsgi.read_text())
    worker = make_worker(project, mode="serve")
    state = state_of(worker)
    assert state["environ"]["FROM_WSGI"] == "1"
    assert "RUN_MAIN" not in state["environ"]
    assert state["path"][0] == str(project)
    assert worker.ready["entry"] == "mysite.wsgi.application"
    assert worker.ready["static"]["url"] == "/app/static/"  # as the first request under gunicorn makes it
    assert "System check" not in worker.text()


@pytest.mark.parametrize(
    ("settings", "urls", "stage", "message"),
    [
        ("1 / 0", "", "import", "ZeroDivisionError"),
        ("def x(:", "", "import", "SyntaxError"),
        ("import no_such_module", "", "settings", "No module named 'no_such_module'"),
        ("INSTALLED_APPS += ['no_such_app']", "", "import", "No module named 'no_such_app'"),
        ("from django.core.exceptions import *; raise ImproperlyConfigured('said so')", "", "settings", "said so"),
        ("MIDDLEWARE += ['mysite.nothing.Middleware']", "", "import", "mysite.nothing"),
        ("WSGI_APPLICATION = 'mysite.wsgi.nothing'", "", "import", "no 'nothing'"),
        ("DEBUG = False", "", "checks", "ALLOWED_HOSTS"),
        ("DEFAULT_AUTO_FIELD = 1\nAUTH_USER_MODEL = 'nothing.User'", "", "import", "AUTH_USER_MODEL"),
        ("raise SystemExit(7)", "", "import", "exit code 7"),
        ("", "import no_such_urls\nurlpatterns = []", "checks", "no_such_urls"),
        ("ROOT_URLCONF = 'mysite.no_urls'", "", "checks", "mysite.no_urls"),
        ("STATICFILES_DIRS = 'nothing'", "", "checks", "STATICFILES_DIRS"),
    ],
)
def test_a_project_that_cannot_start_says_why(
    make_project: MakeProject, make_warm_worker: MakeWorker, settings: str, urls: str, stage: str, message: str
) -> None:
    project = make_project(urls=urls, settings=settings)
    failed = failure_of(make_warm_worker, project)
    assert message in failed["message"] + failed["traceback"]
    assert failed["stage"] == stage
    assert str(project / "manage.py") in failed["files"]
    assert "_duck_worker" not in failed["traceback"]
    assert str(WORKER.parent) not in failed["traceback"]


def test_the_files_of_a_traceback_are_named_innermost_first(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    project = make_project(files={"mysite/inner.py": "x = undefined_name\n"}, settings="import mysite.inner")
    files = failure_of(make_warm_worker, project)["files"]
    assert files[:2] == [str(project / "mysite" / "inner.py"), str(project / "mysite" / "settings.py")]
    assert all(path.startswith(str(project)) for path in files)


def test_the_file_of_a_syntax_error_is_named(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    project = make_project(urls="urlpatterns = [\n")
    failed = failure_of(make_warm_worker, project)
    assert failed["files"][0] == str(project / "mysite" / "urls.py")
    assert "line" in failed["message"]


@pytest.mark.parametrize(
    ("manage", "message"),
    [
        ("", "without running the command 'runserver'"),
        ("import sys; sys.exit(5)", "exit code 5"),
        ("1 / 0", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
        (
            "from django.core.management import execute_from_command_line as x\nx(['manage.py', 'check'])",
            "without running",
        ),
    ],
)
def test_a_manage_py_that_does_not_run_the_command_says_so(
    make_project: MakeProject, make_warm_worker: MakeWorker, manage: str, message: str
) -> None:
    project = make_project()
    (project / "manage.py").write_text(
        "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n" + manage
    )
    assert message in failure_of(make_warm_worker, project)["message"]


def test_a_socket_that_cannot_be_made_says_so(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    failed = failure_of(make_warm_worker, make_project(), address="/no/such/directory/socket")
    assert failed["stage"] == "address"


def test_a_tcp_worker_wants_the_secret(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    worker = make_warm_worker(
        make_project(urls=VIEWS), address=["127.0.0.1", 0], secret="s3cret", threads=1
    ).wait_ready()
    address = worker.ready["address"]
    for wrong in ("", "s3creT"):
        with LinkClient(address, wrong) as client:
            if not wrong:
                client.send("GET", "/hello")
            with pytest.raises((EOFError, ConnectionError)):
                client.wait_hello()
    with LinkClient(address, "s3cret") as client:
        assert client.get("/hello").body == b"hello"


def test_a_stop_finishes_what_runs_and_takes_no_more(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    worker = make_warm_worker(make_project(urls=VIEWS)).wait_ready()
    with worker.client() as busy, worker.client() as idle:
        busy.wait_hello()
        idle.wait_hello()
        busy.send("GET", "/slow")
        time.sleep(0.05)
        worker.command("stop", deadline_s=5)
        with pytest.raises(EOFError):
            idle.receive()
        assert busy.read_answer().body == b"slow"
        assert worker.process.wait(TIMEOUT_S) == 0
    with pytest.raises(OSError):
        worker.client()


def test_a_stop_keeps_its_deadline(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    worker = make_warm_worker(make_project(urls=VIEWS)).wait_ready()
    with worker.client() as client:
        client.wait_hello()
        client.send("GET", "/endless")
        client.receive()
        assert worker.stop(deadline_s=0.1) == 4


def test_a_stop_runs_what_the_project_has_for_its_end(make_project: MakeProject, make_worker: MakeWorker) -> None:
    settings = """
import atexit, os
atexit.register(print, 'handler ran')
class Held:
    def __del__(self, write=os.write):
        write(1, b'finalized\\n')
held = Held()
held.itself = held
"""
    worker = make_worker(make_project(settings=settings)).wait_ready()
    assert worker.stop() == 0
    assert "handler ran" in worker.text() and "finalized" in worker.text()


def test_a_stop_before_ready_ends_the_process(make_project: MakeProject, make_worker: MakeWorker) -> None:
    worker = make_worker(make_project(settings="import time\ntime.sleep(30)"))
    assert worker.stop() == 0


def test_sigint_is_ignored(make_project: MakeProject, make_worker: MakeWorker) -> None:
    worker = make_worker(make_project(urls=VIEWS)).wait_ready()
    os.kill(worker.process.pid, signal.SIGINT)
    with worker.client() as client:
        assert client.get("/hello").status == 200


def test_the_end_of_the_control_socket_ends_the_whole_group(make_project: MakeProject, make_worker: MakeWorker) -> None:
    settings = "import subprocess\nCHILD = subprocess.Popen(['sleep', '60']).pid\nprint('child', CHILD)"
    worker = make_worker(make_project(settings=settings)).wait_ready()
    child = int(worker.wait_text("child ").split("child ")[1].split()[0])
    worker.control.shutdown(2)
    assert worker.process.wait(TIMEOUT_S) == -signal.SIGKILL
    assert is_gone(child)


PARENT = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.backend.link_client import Worker
worker = Worker(Path({project!r}), Path({directory!r})).wait_ready()
print(worker.process.pid, flush=True)
{hold}
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "hold", ["", "import os; os.dup2(worker.control.fileno(), 200); os.set_inheritable(200, True)"]
)
def test_a_killed_app_takes_its_workers_with_it(make_project: MakeProject, run_directory: Path, hold: str) -> None:
    root = str(Path(__file__).parent.parent.parent)
    source = PARENT.format(root=root, project=str(make_project()), directory=str(run_directory), hold=hold)
    parent = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdin is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.wait(TIMEOUT_S)
    assert is_gone(pid)
    parent.stdout.close()
    parent.stdin.close()


def is_gone(pid: int) -> bool:
    """Whether the process ends soon; one that nobody has reaped yet counts as gone."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("spec", "named_by"), [({"settings": "mysite.sttings"}, "--django-settings or DJANGO_SETTINGS_MODULE"), ({}, "{}")]
)
def test_a_settings_module_that_is_not_there_is_one_sentence_with_where_it_is_named(
    make_project: MakeProject, make_warm_worker: MakeWorker, spec: dict[str, str], named_by: str
) -> None:
    project = make_project()
    manage = project / "manage.py"
    manage.write_text(manage.read_text().replace("mysite.settings", "mysite.sttings"))
    failed = failure_of(make_warm_worker, project, **spec)
    assert failed["message"] == (
        f"the settings module 'mysite.sttings', named by {named_by.format(manage)}, is not there "
        "(No module named 'mysite.sttings'); correct the name, or say --django-settings MODULE"
    )
    assert failed["traceback"] == ""
    assert str(manage) in failed["files"]


@pytest.mark.parametrize("settings", ["import nowhere_to_be_found", "INSTALLED_APPS += ['nowhere_to_be_found.apps']"])
def test_a_package_that_is_missing_says_where_it_would_have_to_be_installed(
    make_project: MakeProject, make_warm_worker: MakeWorker, settings: str
) -> None:
    failed = failure_of(make_warm_worker, make_project(settings=settings))
    assert failed["message"] == (
        f"No module named 'nowhere_to_be_found'; install it for {sys.executable}, "
        "or say with --python which Python has the project's packages"
    )
    assert "nowhere_to_be_found" in failed["traceback"]


def test_a_module_of_the_projects_own_that_is_missing_is_nothing_to_install(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    failed = failure_of(make_warm_worker, make_project(settings="from mysite import local\nimport mysite.nothing"))
    assert "install" not in failed["message"]


def test_a_runserver_of_the_projects_own_is_told_to_be_replaced(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    command = "from django.core.management.commands.runserver import Command as Command\n"
    files = {
        "shop/__init__.py": "",
        "shop/management/__init__.py": "",
        "shop/management/commands/__init__.py": "",
        "shop/management/commands/runserver.py": command,
    }
    worker = make_warm_worker(
        make_project(settings="INSTALLED_APPS.insert(0, 'shop')", files=files, name="own")
    ).wait_ready()
    assert worker.ready["warnings"] == [
        "The command runserver of shop is not run; what it alone serves has to be in urlpatterns."
    ]
    assert make_warm_worker(make_project(name="stock")).wait_ready().ready["warnings"] == []


def test_an_error_of_one_line_is_told_once(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    project = make_project(settings="DEBUG = False\nALLOWED_HOSTS = []")
    failed = failure_of(make_warm_worker, project)
    assert failed["message"] == "You must set settings.ALLOWED_HOSTS if DEBUG is False."
    assert failed["traceback"] == ""


def test_where_a_missing_module_would_be_installed_is_among_the_files(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    failed = failure_of(make_warm_worker, make_project(settings="import no_such_module"))
    assert failed["files"][0].endswith("settings.py")
    assert failed["files"][-1] == sysconfig.get_paths()["purelib"]
