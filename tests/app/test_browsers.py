"""What the App says to browsers and does for them."""

import asyncio
import threading

import pytest

from duck.app import editor
from duck.app.browsers import Browsers
from duck.app.front import Front
from duck.app.front_processes import FrontProcesses
from duck.app.unloaded import Unloaded
from duck.backend.django.version import Failure
from duck.http.site import SiteConfig
from duck.net.clock import Clock
from duck.settings.load import load

FAULT = {"type": "fault", "fault": {"kind": "syntax"}}


def browsers_of(tmp_path, inbox, front=None, **values):
    made = Browsers(load(values, {}, tmp_path), front or Front(inbox.post), lambda: inbox)
    made.begin({})
    return made


def test_the_token_is_random_and_kept_by_the_next_duck_of_the_process(tmp_path, inbox):
    one, other = browsers_of(tmp_path, inbox), browsers_of(tmp_path, inbox)
    assert len(one.token) >= 32 and one.token != other.token
    other.begin(one.hand_over())
    assert other.token == one.token
    first, second = (duck.config(use_django=True) for duck in (one, other))
    assert first.token == second.token == one.token
    assert first.run != second.run  # pages of the Duck before load again


def test_missing_migrations_are_a_notice_told_when_they_change(tmp_path, inbox):
    browsers, told = browsers_of(tmp_path, inbox), []
    browsers.tell = told.append
    for names in ([], ["shop.0001"], ["shop.0001"], []):
        browsers.migrations(names, [])
    assert [message["type"] for message in told] == ["notice", "notice"]
    assert (told[0]["fault"]["remedy"], told[0]["fault"]["quiet"], told[1]["fault"]) == ("migrate", True, None)
    told.clear()
    for unapplied, unmade in (([], ["shop: Add field x to y"]), (["shop.0002"], ["shop: Add field x to y"]), ([], [])):
        browsers.migrations(unapplied, unmade)
    faults = [message["fault"] for message in told]
    assert [fault and (fault["remedy"], fault["command"], fault["details"]) for fault in faults] == [
        ("", "python manage.py makemigrations", "shop: Add field x to y"),
        ("migrate", "python manage.py makemigrations", "shop.0002\nshop: Add field x to y"),
        None,
    ]


def test_a_page_that_failed_of_a_column_is_told_of_the_model_once_it_is_known(tmp_path, inbox):
    browsers, told = browsers_of(tmp_path, inbox), []
    browsers.tell = told.append
    error = "django.db.utils.OperationalError: no such column: shop_item.price\n"
    browsers.request_failed({"page": "/items", "traceback": error, "unapplied": [], "database": True})
    browsers.request_failed({"page": "/other", "traceback": "ValueError: x\n", "unapplied": [], "database": False})
    assert [(one["fault"]["kind"], one["fault"]["command"]) for one in told] == [("error", ""), ("error", "")]
    del told[:]
    browsers.migrations([], ["shop: Add field price to item"])
    assert [one["type"] for one in told] == ["notice", "fault"]
    made = told[1]["fault"]
    assert told[1]["page"] == "/items" and (made["kind"], made["quiet"]) == ("migrations", False)
    assert (made["command"], made["remedy"]) == ("python manage.py makemigrations", "")
    assert "no such column" in made["message"] and "price" in made["details"]
    # A start later all of that is over.
    browsers.failed(None, True)
    del told[:]
    browsers.migrations([], ["shop: Add field weight to item"])
    assert [one["type"] for one in told] == ["notice"]


@pytest.mark.parametrize("values", [{"MODE": "serve"}, {"DUCKSIGHT": False}, {"MODE": "serve", "DUCKSIGHT": True}])
def test_in_production_or_where_it_is_not_wanted_there_is_none(tmp_path, inbox, values):
    assert browsers_of(tmp_path, inbox, **values).config(use_django=True) is None


def test_worker_processes_have_none_and_telling_them_is_nothing(tmp_path, inbox):
    browsers = browsers_of(tmp_path, inbox, FrontProcesses(lambda: inbox, 1))
    assert browsers.config(use_django=True) is None
    browsers.tell({"type": "reload"})


@pytest.mark.parametrize("debug", [True, False])
def test_without_django_ducks_own_debug_counts(tmp_path, inbox, debug):
    config = browsers_of(tmp_path, inbox, DEBUG=debug).config(use_django=False)
    assert (config is not None) is debug


def test_what_is_allowed_comes_from_the_settings(tmp_path, inbox):
    browsers = browsers_of(tmp_path, inbox, DUCKSIGHT_ALLOWED=["172.17.0.1", "shop.test"])
    assert browsers.config(use_django=True).allowed == ("172.17.0.1/32", "shop.test")


def test_a_command_is_done_on_the_inbox_and_what_fails_is_answered(tmp_path, inbox, caplog):
    browsers = browsers_of(tmp_path, inbox)
    done, replies = [], []
    browsers.commands["migrate"] = lambda arguments, reply: done.append(threading.current_thread())
    browsers.commands["open"] = lambda arguments, reply: 1 / 0
    on_command = browsers.config(use_django=True).on_command
    asking = threading.Thread(target=on_command, args=("migrate", {}, replies.append))
    asking.start()
    asking.join()
    on_command("open", {"file": "a"}, replies.append)
    on_command("other", {}, replies.append)
    inbox.run_once(1.0)
    assert done == [threading.current_thread()]
    assert [reply["ok"] for reply in replies] == [False, False]
    assert "ZeroDivisionError" in replies[0]["text"] and "other" in replies[1]["text"]
    assert "ZeroDivisionError" in caplog.text


def test_a_worker_that_starts_later_knows_what_was_told_before(tmp_path, inbox):
    front = Front(inbox.post)
    browsers = browsers_of(tmp_path, inbox, front)
    front.config = SiteConfig(development=True, ducksight=browsers.config(use_django=True))
    loop = asyncio.new_event_loop()
    try:
        first = front.make_handler(loop, Clock(loop))
        front.tell_browsers({"type": "style", "urls": []})
        front.tell_browsers(FAULT)
        loop.run_until_complete(asyncio.sleep(0))
        second = front.make_handler(loop, Clock(loop))
        assert first.sight.channel.at == second.sight.channel.at
        assert first.sight.channel.at.endswith(".2")
        assert first.sight.channel._fault == second.sight.channel._fault == FAULT
        front.tell_browsers({"type": "reload"})
        loop.run_until_complete(asyncio.sleep(0))
        assert first.sight.channel._fault is second.sight.channel._fault is None
        first.close(), second.close()
    finally:
        loop.close()


def answer_to(browsers, inbox, name, **arguments):
    replies = []
    browsers.config(use_django=True).on_command(name, arguments, replies.append)
    inbox.run_once(1.0)
    return replies[0]


def test_only_files_of_the_project_and_those_that_a_fault_has_named_are_opened(tmp_path, inbox, monkeypatch):
    opened = []
    monkeypatch.setattr(editor, "run", opened.append)
    project, programs, elsewhere = tmp_path / "project", tmp_path / "programs", tmp_path / "elsewhere"
    for directory in (project, programs, elsewhere):
        directory.mkdir()
    for file in (project / "views.py", elsewhere / "secret.py", elsewhere / "library.py", programs / "subl"):
        file.write_text("x = 1\n")
    (programs / "subl").chmod(0o755)
    (project / "link.py").symlink_to(elsewhere / "secret.py")
    monkeypatch.setenv("PATH", str(programs))
    browsers = browsers_of(project, inbox, DUCKSIGHT_EDITOR="sublime")
    browsers.root = project

    def opens(file, line=3):
        return answer_to(browsers, inbox, "open", file=str(file), line=line)["ok"]

    assert opens(project / "views.py")
    assert opened == [[str(programs / "subl"), f"{project / 'views.py'}:3"]]
    for file in (elsewhere / "secret.py", project / "link.py", project / ".." / "elsewhere" / "secret.py"):
        assert not opens(file), file
    for file in ("views.py", project / "missing.py", project, "/etc/passwd", "-x"):
        assert not opens(file), file
    assert not opens(elsewhere / "library.py")
    text = f'  File "{elsewhere / "library.py"}", line 1, in work\nValueError: x\n'
    browsers.request_failed({"page": "/", "traceback": text})
    assert opens(elsewhere / "library.py")
    assert len(opened) == 2


def test_without_an_editor_that_a_command_opens_it_is_said_so(tmp_path, inbox):
    (tmp_path / "views.py").write_text("")
    for name, said in (("vscode", "DUCKSIGHT_EDITOR"), ("off", "DUCKSIGHT_EDITOR")):
        browsers = browsers_of(tmp_path, inbox, DUCKSIGHT_EDITOR=name)
        answer = answer_to(browsers, inbox, "open", file=str(tmp_path / "views.py"), line=1)
        assert not answer["ok"] and said in answer["text"]


class FakeMigration:
    def __init__(self, failure):
        self.failure = failure

    def begin(self, outcome):
        outcome(self.failure)


@pytest.mark.parametrize(
    ("failure", "ok", "text"),
    [(None, True, ""), (Failure("command", "migrate ended with 1", "Traceback"), False, "ended with 1\nTraceback")],
)
def test_migrations_are_applied_and_a_failure_is_told(tmp_path, inbox, failure, ok, text):
    browsers = browsers_of(tmp_path, inbox)
    browsers.attach(tmp_path, None, FakeMigration(failure))
    answer = answer_to(browsers, inbox, "migrate")
    assert answer["ok"] is ok and answer["text"].endswith(text)


class Listening(Front):
    """Keeps what browsers are told."""

    def __init__(self):
        super().__init__(lambda callback: None)
        self.told = []

    def tell_browsers(self, message):
        self.told.append(message)


def test_what_is_wrong_is_told_and_that_it_is_mended_once(tmp_path, inbox):
    front = Listening()
    browsers = browsers_of(tmp_path, inbox, front)
    browsers.failed(None, True)
    assert front.told == []
    browsers.failed(Failure("import", "ValueError: x"), False)
    browsers.failed(Failure("replaced", "A newer start has taken its place."), True)
    browsers.failed(None, True)
    browsers.failed(None, True)
    assert [message["type"] for message in front.told] == ["fault", "mended"]
    browsers.uncompiled(SyntaxError("bad", (str(tmp_path / "a.py"), 3, 1, "x")))
    browsers.unloaded(Unloaded("urls cannot be imported", "", ()), serves=True)
    assert [message["fault"]["kind"] for message in front.told[2:]] == ["syntax", "error"]


def test_where_it_is_not_wanted_nothing_is_made(tmp_path, inbox):
    front = Listening()
    browsers = browsers_of(tmp_path, inbox, front, DUCKSIGHT=False)
    browsers.failed(Failure("import", "x"), False)
    browsers.uncompiled(SyntaxError("bad", ("a.py", 1, 1, "")))
    browsers.unloaded(Unloaded("x", "", ()), serves=True)
    browsers.request_failed({"traceback": "ValueError: x"})
    assert front.told == []
