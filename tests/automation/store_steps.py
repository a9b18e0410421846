"""Run in a project whose store lies in PostgreSQL or SQLite: what its operations ask the database, and what may come
between. Says it as JSON.

    python store_steps.py count             how many statements each operation takes
    python store_steps.py between URL       what becomes of a run that is queued again while it is cancelled
    python store_steps.py prune             how many runs each call of `prune` forgets, where its time is up at once
"""

from __future__ import annotations

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")
sys.path.insert(0, os.getcwd())
django.setup()

from django.db import connection  # noqa: E402

from duck.automation.django import pruning  # noqa: E402
from duck.automation.django.models import Automation, Run  # noqa: E402
from duck.automation.django.store import Store  # noqa: E402

FAR = 2**52


def due(name: str, planned: int, overlap: str = "skip") -> dict[str, object]:
    told = {"name": name, "revision": "r", "overlap": overlap, "planned": planned, "runs": True}
    return {**told, "reason": "", "missed": 0, "each": False}


def count() -> dict[str, int]:
    """Of one run that is planned, started, ended; each as a store process answers it."""
    store = Store()
    counts: dict[str, int] = {}
    said: list[str] = []

    def note(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        said.append(sql)
        return execute(sql, params, many, context)

    def ask(method: str, told_as: str = "", **arguments: object):  # type: ignore[no-untyped-def]
        said.clear()
        with connection.execute_wrapper(note):
            result, _, _ = store.answer(method, arguments)
        counts[told_as or method] = len(said)
        return result

    ask("register", declared=[["counted", "r"]])
    ask("take", "idle take", node="a", room={"p": 1}, declared={"counted": ["p", "skip", FAR, 0]})
    ask("claim", dues=[due("counted", FAR)])
    (run,) = ask("take", node="a", room={"p": 1})
    ask("beat", node="a", runs=[run["id"]])
    ends = {"run": run["id"], "node": "a", "attempt": 1, "reason": "", "code": 0, "output": ""}
    ask("finish", **ends, state="succeeded")
    row = ask("enqueue", name="counted", revision="r", overlap="skip", planned=1, cause="hand")
    ask("cancel", run=row["id"])
    ask("join", node="a")
    for name in ("paused", "standings", "crowded"):
        ask(name)
    ask("look", silent_s=30.0)
    told = [["counted", "{}", "[]"], ["counted", "", ""]]
    ask("beat", "beat that tells", node="a", runs=[], told=told * 10)
    return counts


def between(url: str) -> dict[str, object]:
    """Another node ends a run's attempt, which is to be tried again, after the first thing that a cancellation asks."""
    import psycopg

    store = Store()
    store.register([["raced", "r"]])
    row = store.enqueue("raced", "r", "allow", 1, "hand")
    store.take("a", {"p": 1}, {"raced": ["p", "allow", FAR, 0]})
    moved: list[str] = []
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SET lock_timeout = '200ms'")

        def come_between(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
            result = execute(sql, params, many, context)
            if "duck_automations_run" in sql and not moved:
                try:
                    other.execute("UPDATE duck_automations_run SET state = 'queued' WHERE id = %s", (row["id"],))
                    moved.append("moved")
                except psycopg.errors.LockNotAvailable:
                    moved.append("has to wait")
            return result

        with connection.execute_wrapper(come_between):
            told = store.cancel(row["id"])
    found = store.run(row["id"])
    assert found is not None
    return {"told": told, "other": moved[0], "state": found["state"], "cancels": found["cancels"]}


def prune() -> list[list[int]]:
    """Of two automations with 601 runs that are over, and one with one: forgotten, and left of each."""
    pruning._MOST_S = 0.0
    Run.objects.all().delete()
    Automation.objects.all().delete()
    store = Store()
    names = {"few": 1, "many": 601, "more": 601}
    store.register([[name, "r"] for name in names])
    over = {"revision": "r", "planned": 0, "cause": "hand", "state": "succeeded", "not_before": 0, "created": 0}
    Run.objects.bulk_create(Run(name=name, ended=0, **over) for name, many in names.items() for _ in range(many))
    found: list[list[int]] = []
    while not found or found[-1][1:] != [1, 1, 1]:
        forgotten = store.prune(1, 0.0)
        found.append([forgotten, *(Run.objects.filter(name=name).count() for name in names)])
    pruning._MOST_S = 60.0
    store._pruned = "few"
    Run.objects.bulk_create(Run(name=name, ended=0, **over) for name in names)
    found.append([store.prune(1, 0.0), *(Run.objects.filter(name=name).count() for name in names)])
    return found


MODES = {"count": count, "between": between, "prune": prune}
sys.stdout.write(json.dumps(MODES[sys.argv[1]](*sys.argv[2:])))
