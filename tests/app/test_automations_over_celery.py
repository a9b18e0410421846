"""Automations that a real Celery worker carries out, over a real Redis, with their claims in a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duck.services.automations.run import State
from tests.alive import is_alive
from tests.celery_project import CeleryNode, CelerySite

if TYPE_CHECKING:
    from tests.postgres import Postgres
    from tests.redis_server import RedisServer

# With a task of the same name, and nothing of Duck's.
PLAIN = """
from celery import Celery

app = Celery("plain", broker={broker!r})
app.conf.task_default_queue = "duck-test"


@app.task(name="site1.tasks.nightly")
def nightly(days):
    raise AssertionError("not for it")
"""
HTTP = "http://127.0.0.1:9/"
JOBS: dict[str, dict[str, Any]] = {
    "said": {"call": "site1.tasks:said", "overlap": "allow"},
    "fails": {"call": "site1.tasks:fails"},
    "hangs": {"call": "site1.tasks:hangs", "timeout": "1s", "grace": "1s"},
    "lasts": {"shell": "trap 'echo bye' TERM; echo began; sleep 60", "timeout": "1s", "grace": "5s"},
    "stays": {"call": "site1.tasks:hangs", "grace": "1s"},
    "deaf": {"call": "site1.tasks:deaf", "timeout": "1s", "grace": "1s", "overlap": "allow"},
    "deafer": {"call": "site1.tasks:deaf", "grace": "1s"},
    "slow": {"call": "site1.tasks:slow", "overlap": "allow"},
    "slow-retried": {"call": "site1.tasks:slow", "on_crash": "retry", "backoff": "1ms"},
    "quick": {"call": "site1.tasks:quick", "overlap": "allow", "run_in": "loop"},
    "check": {"command": "check"},
    "shell": {"shell": "echo $DUCK_KEY; exit 3"},
    "url": {"url": HTTP},
    "own-url": {"url": "/hook"},
    "nightly": {"task": "site1.tasks.nightly", "kwargs": {"days": 7}},
    "again": {"task": "site1.tasks:again"},
    "stubborn": {"task": "site1.tasks.stubborn"},
    "unknown": {"task": "site1.tasks.note"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[CelerySite]:
    from tests.redis_server import RedisServer

    redis: RedisServer = RedisServer.start()  # its faults are looked at: nobody else's
    made = CelerySite(tmp_path_factory.mktemp("celery"), postgres, redis)
    yield made
    made.close()
    redis.stop()


@pytest.fixture(scope="module")
def node(site: CelerySite) -> Iterator[CeleryNode]:
    site.start_worker()
    made = CeleryNode(site, "a")
    made.begin(**JOBS)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def fresh(site: CelerySite) -> None:
    site.forget()


class TestWhatIsCarriedOut:
    def test_a_call_with_its_context_and_what_it_prints(self, node: CeleryNode) -> None:
        run = node.run("said")
        assert (run.state, run.reason, run.attempt) == (State.SUCCEEDED, "", 1)
        assert run.output.splitlines() == ["it said said", "INFO and logged"]
        assert node.site.noted("said") == [f"said 1 {run.key}"]

    def test_one_that_fails_says_why(self, node: CeleryNode) -> None:
        run = node.run("fails")
        assert (run.state, run.reason) == (State.FAILED, "ValueError: no ducks")
        assert run.output.startswith("about to fail\nTraceback (most recent call last)")
        assert run.output.rstrip().endswith("ValueError: no ducks")

    def test_a_command_a_shell_command_and_a_url(self, node: CeleryNode) -> None:
        ids = {name: node.enqueue(name) for name in ("check", "shell", "url", "own-url")}
        runs = {name: node.end_of(run_id) for name, run_id in ids.items()}
        assert runs["check"].state is State.SUCCEEDED and "no issues" in runs["check"].output
        assert (runs["shell"].state, runs["shell"].reason) == (State.FAILED, "exit code 3")
        assert runs["shell"].output == f"{runs['shell'].key}\n"
        assert runs["url"].state is State.FAILED and runs["url"].reason.startswith(f"{HTTP} cannot be asked")
        assert runs["own-url"].reason.startswith(f"{HTTP}hook cannot be asked")

    def test_what_it_prints_can_be_read_while_it_runs(self, node: CeleryNode) -> None:
        run_id = node.enqueue("slow")

        def printed() -> str:
            run = node.engine.run(run_id)
            assert run is not None and not run.state.is_over and run.printed == len(run.output)
            return run.output

        node.serve(printed)
        assert printed() == "slow has begun\n"
        node.site.let_go()
        run = node.end_of(run_id)
        assert (run.state, run.output, run.printed) == (State.SUCCEEDED, "slow has begun\n", 15)

    def test_a_task_of_the_projects_own(self, node: CeleryNode) -> None:
        run = node.run("nightly")
        assert run.state is State.SUCCEEDED and "nightly ran" in run.output
        assert node.site.noted("nightly") == ["nightly 7"]
        assert f"Task duck:site1.tasks.nightly[{run.key}:{run.id}.1]" in node.site.log()

    def test_a_retry_of_celerys_own_is_the_same_attempt(self, node: CeleryNode) -> None:
        run = node.run("again")
        assert (run.state, run.attempt) == (State.SUCCEEDED, 1)
        task = f"{run.key}:{run.id}.1"
        assert node.site.noted("again") == [f"again 0 {task}", f"again 1 {task}"]

    def test_retries_that_celery_makes_by_itself_end(self, node: CeleryNode) -> None:
        run = node.run("stubborn")
        assert (run.state, run.reason) == (State.FAILED, "KeyError: 'quack'")
        assert node.site.noted("stubborn") == ["stubborn"] * 3

    def test_what_is_no_task_is_refused(self, node: CeleryNode) -> None:
        run = node.run("unknown")
        assert run.state is State.FAILED
        assert run.reason == (
            'task is "site1.tasks.note", and no task of the Celery app site1 or of django_tasks has that name'
        )


class TestEnding:
    def test_one_that_lasts_too_long_is_interrupted(self, node: CeleryNode) -> None:
        run = node.run("hangs")
        assert (run.state, run.reason) == (State.TIMED_OUT, "not ended within 1 s")
        assert "hanging" in run.output

    def test_a_shell_command_that_lasts_too_long_says_its_last_and_nothing_of_duck_or_celery(
        self, node: CeleryNode
    ) -> None:
        run = node.run("lasts")
        assert (run.state, run.reason) == (State.TIMED_OUT, "not ended within 1 s")
        assert [line for line in run.output.splitlines() if line != "Terminated"] == ["began", "bye"]

    def test_one_that_is_cancelled_hears_of_it(self, node: CeleryNode) -> None:
        run_id = node.enqueue("stays")
        node.serve(lambda: node.site.noted("hangs"))
        node.engine.cancel(run_id)
        assert node.end_of(run_id).state is State.CANCELLED
        pid = int(node.site.noted("hangs")[0].split(" ")[1])
        assert is_alive(pid), "its process serves the next"

    def test_what_does_not_hear_is_ended_by_force_with_its_process(self, node: CeleryNode) -> None:
        """The late one by Celery's own hard limit, which needs no node; the cancelled one as a node asks its worker."""
        late, cancelled = node.enqueue("deaf"), node.enqueue("deafer")
        node.serve(lambda: len(node.site.noted("deaf")) == 2)
        node.engine.cancel(cancelled)
        ended = [node.end_of(late), node.end_of(cancelled)]
        assert [run.state for run in ended] == [State.TIMED_OUT, State.CANCELLED]
        assert ended[0].reason == "not ended within 1 s"
        assert ended[1].output.startswith("It did not end by itself; its worker was w")
        pids = [int(line.split(" ")[1]) for line in node.site.noted("deaf")]
        node.serve(lambda: not any(is_alive(pid) for pid in pids))
        assert node.run("said").state is State.SUCCEEDED


class TestOnce:
    def test_hundreds_at_one_moment_need_no_threads(self, node: CeleryNode) -> None:
        runs = node.claim("quick", 200)
        node.serve(lambda: len(node.jobs._runs) == 200)
        (pid,) = node.jobs.pids
        assert len(os.listdir(f"/proc/{pid}/task")) < 8
        node.serve(lambda: not node.jobs._runs)
        assert len(node.site.noted("quick")) == 200
        node.serve(lambda: node.state_of(runs[-1].id).is_over)
        ended = node.engine.runs("quick", limit=200)
        assert {run.state for run in ended} == {State.SUCCEEDED} and {run.attempt for run in ended} == {1}

    def test_a_message_that_comes_twice_is_carried_out_once(self, node: CeleryNode) -> None:
        run_id = node.enqueue("slow")
        node.serve(lambda: node.site.noted("slow"))
        sent = node.jobs._runs[run_id]
        host = node.jobs._host
        assert host is not None
        host.command("forget", run=run_id)
        # Another one that knows nothing sends it anew, however it stands.
        for _ in range(3):
            _send_again(node.site, sent.told())
        node.serve(lambda: node.site.log().count(f"[{sent.task}] was begun before") >= 3)
        host.command("carry", **{**sent.told(), "was_sent": True})
        node.site.let_go()
        assert node.end_of(run_id).state is State.SUCCEEDED
        assert len(node.site.noted("slow")) == 1


class TestFaults:
    def test_where_the_broker_is_away_runs_stay_queued_and_it_is_said(
        self, node: CeleryNode, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="duck.automations")
        node.site.redis.suspend()
        try:
            first = node.enqueue("said")
            node.serve(lambda: node.jobs._broker)
            node.serve(lambda: node.state_of(first) is State.QUEUED)
            second = node.enqueue("said")
            for _ in range(20):
                node.inbox.run_once(0.05)
            assert node.state_of(second) is State.QUEUED
            assert caplog.text.count("Celery's broker cannot be reached") == 1
        finally:
            node.site.redis.resume()
        runs = [node.end_of(first), node.end_of(second)]
        assert [(run.state, run.attempt) for run in runs] == [(State.SUCCEEDED, 1)] * 2
        assert sorted(node.site.noted("said")) == sorted(f"said 1 {run.key}" for run in runs)
        assert "Celery's broker can be reached again." in caplog.text

    def test_a_message_that_the_broker_forgets_is_sent_again_as_the_same_task(self, node: CeleryNode) -> None:
        site = node.site
        for worker in site.workers:
            os.killpg(worker.pid, signal.SIGSTOP)
        run_id = node.enqueue("said")
        node.serve(lambda: run_id in node.jobs._runs and node.jobs._runs[run_id].was_sent)
        site.redis.suspend()
        site.redis.resume()
        for worker in site.workers:
            os.killpg(worker.pid, signal.SIGCONT)
        run = node.end_of(run_id)
        assert (run.state, run.attempt) == (State.SUCCEEDED, 1)
        assert len(site.noted("said")) == 1

    def test_what_a_vanished_node_had_sent_is_seen_to_by_another(self, node: CeleryNode) -> None:
        """Neither the death of a node nor its stop does anything to what Celery carries out."""
        other = CeleryNode(node.site, "b")
        other.begin(slow=JOBS["slow"])
        run_id = other.enqueue("slow")
        other.serve(lambda: node.site.noted("slow"))
        owner = other.engine.run(run_id)
        assert owner is not None
        if owner.node != "b":
            pytest.skip("the other node was faster")
        other.vanish()
        node.engine.give_up(0.0, {})
        node.dispatcher.wake()
        node.serve(lambda: run_id in node.jobs._runs)
        node.site.let_go()
        run = node.end_of(run_id)
        assert (run.state, run.attempt, run.node) == (State.SUCCEEDED, 1, "a")
        assert len(node.site.noted("slow")) == 1

    def test_one_whose_worker_is_killed_is_lost(self, node: CeleryNode) -> None:
        run_id = node.enqueue("slow")
        _kill_worker_of(node, "slow", 1)
        run = node.end_of(run_id)
        assert run.state is State.LOST
        assert "its Celery worker w" in run.reason and run.reason.endswith("fell silent")

    def test_or_tried_again_where_the_declaration_says_so(self, node: CeleryNode) -> None:
        run_id = node.enqueue("slow-retried")
        _kill_worker_of(node, "slow", 1)
        node.site.let_go()
        run = node.end_of(run_id)
        assert (run.state, run.attempt) == (State.SUCCEEDED, 2)
        assert [line.split(" ")[1] for line in node.site.noted("slow")] == ["1", "2"]

    def test_a_process_that_speaks_to_celery_is_started_again(self, node: CeleryNode) -> None:
        run_id = node.enqueue("slow")
        node.serve(lambda: node.site.noted("slow"))
        (pid,) = node.jobs.pids
        os.kill(pid, signal.SIGKILL)
        node.serve(lambda: node.jobs.pids and node.jobs.pids != [pid])
        node.site.let_go()
        assert node.end_of(run_id).state is State.SUCCEEDED


def _kill_worker_of(node: CeleryNode, word: str, count: int) -> None:
    """Kill the process that carries it out; its worker makes another."""
    node.serve(lambda: len(node.site.noted(word)) == count)
    os.kill(int(node.site.noted(word)[-1].split(" ")[-1]), signal.SIGKILL)


def _send_again(site: CelerySite, told: dict[str, Any]) -> None:
    from celery import Celery

    header = {name: told[name] for name in ("run", "attempt", "timeout_s", "grace_s")}
    with Celery("other", broker=site.redis.url) as app:
        app.conf.task_default_queue = "duck-test"
        app.send_task("duck.automation", kwargs={"told": told}, task_id=told["task"], headers={"duck_run": header})


def test_with_threads_a_run_is_interrupted_between_two_instructions(site: CelerySite, node: CeleryNode) -> None:
    for worker in site.workers:
        site.kill(worker)
    site.workers.clear()
    site.start_worker("--pool", "threads", "-c", "4")
    run_id = node.enqueue("slow")
    node.serve(lambda: site.noted("slow"))
    node.engine.cancel(run_id)
    assert node.end_of(run_id).state is State.CANCELLED
    assert node.run("said").output.splitlines() == ["it said said", "INFO and logged"]


def test_a_worker_that_has_not_loaded_the_application_leaves_them_alone(
    site: CelerySite, node: CeleryNode, caplog: pytest.LogCaptureFixture
) -> None:
    for worker in site.workers:
        site.kill(worker)
    site.workers.clear()
    (site.root / "plain.py").write_text(PLAIN.format(broker=site.redis.url))
    plain = site.start_worker("-c", "1", app="plain")
    run_id = node.enqueue("nightly")
    node.serve(lambda: "duck:site1.tasks.nightly" in site.log() and "unregistered task" in site.log())
    node.serve(lambda: "wait for a Celery worker to begin them" in caplog.text)
    site.kill(plain)
    site.start_worker()
    assert node.end_of(run_id).state is State.SUCCEEDED
    assert site.noted("nightly") == ["nightly 7"], "it was carried out once, by the one that knows how"


def test_commands_and_nodes_of_duck_take_the_engine_from_the_settings(site: CelerySite, node: CeleryNode) -> None:
    (site.root / "duck.toml").write_text(
        'automation_engine = "celery"\n[automations.hello]\ncall = "site1.tasks:said"\n'
    )
    state = site.root.parent / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "duck", "automations", "run"]
    environ = {**site.environ, "DUCK_STATE_DIR": str(state), "DUCK_PYTHON": sys.executable}
    with subprocess.Popen(command, cwd=site.root, env=environ, stderr=subprocess.DEVNULL) as alone:
        try:
            asked = [*command, "hello", "--wait", "--json"]
            done = subprocess.run(asked, cwd=site.root, env=environ, capture_output=True, text=True, timeout=90)
        finally:
            alone.terminate()
    (told,) = json.loads(done.stdout)["runs"]
    assert (told["state"], told["output"]) == ("succeeded", "it said hello\nINFO and logged\n"), done.stderr


class TestFindingTheApp:
    def test_one_that_is_not_there_is_a_sentence(self, site: CelerySite) -> None:
        node = CeleryNode(site, "c", app="site1.nothing")
        node.jobs.begin()
        node.serve(lambda: node.failures)
        assert 'CELERY_APP is "site1.nothing", and there is no Celery app' in node.failures[0][0]
        node.vanish()

    def test_none_is_a_sentence(self, site: CelerySite) -> None:
        path = Path(site.root / "site1" / "celery.py")
        text = path.read_text()
        path.write_text("")
        try:
            node = CeleryNode(site, "c")
            node.jobs.begin()
            node.serve(lambda: node.failures)
        finally:
            path.write_text(text)
        assert "no Celery app of the project is found; set CELERY_APP" in node.failures[0][0]
        node.vanish()
