"""What the cells of the admin pages hold."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.html import format_html

from .database import HAND, OPEN
from .models import Automation, Run
from .shown import DAY, number_shown, paused_shown, shown, span_shown, took_s, zone

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

# Nodes tell of each automation once an hour.
_UNTOLD_US = 3 * 3600 * 1_000_000


def latest_runs(name: str, count: int) -> list[Run]:
    """The latest runs of one automation, the newest first, without what they printed."""
    return list(Run.objects.filter(name=name).order_by("-id").defer("output")[:count])


def standing_of(automation: Automation, now: int) -> tuple[str, str]:
    """How its state is drawn, and in words."""
    facts = automation.facts_table
    if automation.is_paused(now):
        return "warn", paused_shown(automation.paused_until)
    if automation.told is None:
        return "none", "no node has told of it yet"
    if now - automation.told > _UNTOLD_US:
        return "none", f"not declared, or no node, since {number_shown(automation.told)}"
    if facts.get("planned"):
        return "good", "planned"
    return "good", "by events" if facts.get("when", "").startswith("on ") else "by hand"


def state_of(run: Run) -> tuple[str, str]:
    kind = {"succeeded": "good", "failed": "bad", "timed out": "bad", "lost": "bad", "running": "open"}
    return kind.get(run.state, "none"), "is to end" if run.cancels and run.state in OPEN else run.state


def badge(kind: str, words: str) -> SafeString:
    return format_html('<span class="duck-badge duck-{}">{}</span>', kind, words)


def after(first: datetime, other: datetime) -> str:
    """Another time: `10:15` where it is of the same day, without the year where it is of the same one."""
    where = zone()
    if first.astimezone(where).date() == other.astimezone(where).date():
        return shown(other, where, "")
    return shown(other, where, "D j M, " if first.astimezone(where).year == other.astimezone(where).year else DAY)


def link_to(model: type[Any], key: Any, text: str) -> SafeString | str:
    if not model.objects.filter(pk=key).exists():
        return text
    url = reverse(f"admin:duck_automations_{model._meta.model_name}_change", args=(key,))
    return format_html('<a href="{}">{}</a>', url, text)


def cause_rows(run: Run) -> list[tuple[str, str]]:
    """Why it runs: of a run by hand by whom, of others what an event told."""
    if run.cause == HAND:
        try:
            by = json.loads(run.event)["by"]
        except (ValueError, LookupError, TypeError):
            return [("Cause", run.cause)]
        return [("Cause", f"{run.cause}, by {by}")]
    return [("Cause", run.cause), ("Told by the event", run.event)]


def run_row(run: Run, now: int) -> dict[str, Any]:
    return {
        "id": run.pk,
        "url": reverse("admin:duck_automations_run_change", args=(run.pk,)),
        "planned": number_shown(run.planned),
        "state": badge(*state_of(run)),
        "took": span_shown(took_s(run, now)),
        "cause": run.cause,
        "reason": run.reason,
        "node": run.node,
    }


def facts_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What is declared, for people; what is as usual is left out."""
    rows = [
        ("For", facts.get("description", "")),
        ("When", " ".join(filter(None, (facts.get("when", ""), f"({facts['zone']})" if facts.get("zone") else "")))),
        ("Runs", facts.get("runs", "")),
        ("Declared in", facts.get("declared_in", "")),
        ("Missed times", facts.get("missed", "")),
        ("Within", span_shown(facts.get("within_s"))),
        ("While one runs", facts.get("overlap", "")),
        ("Ended after", span_shown(facts.get("timeout_s"))),
        ("Tried again", f"{facts['retry']} times" if facts.get("retry") else ""),
        ("After a crash", facts.get("on_crash", "")),
        ("Runs in", facts.get("run_in", "")),
        ("Runs on", facts.get("run_on", "")),
    ]
    return [row for row in rows if row[1]]
