"""The pages of Django's admin: automations with what comes and what was, their runs, and what can be done with them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst

from ..admission import Crowded
from .cells import after, badge, cause_rows, facts_rows, latest_runs, link_to, run_row, standing_of, state_of
from .chart import BARS, chart
from .database import HAND, OPEN
from .models import Automation, Run
from .shown import number_shown, outcome_of, paused_shown, read_local, shown, span_shown, took_s, zone
from .store import Store

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.utils.safestring import SafeString

_ON_PAGE = 25
_NEXT = 5
# A node that has not said so for so long is not there.
_SILENT_S = 30.0
_SPANS = {"1h": ("1 hour", 1), "8h": ("8 hours", 8), "1d": ("1 day", 24), "7d": ("1 week", 168)}


def _now() -> int:
    return time.time_ns() // 1000


class _Steered(admin.ModelAdmin):  # type: ignore[type-arg]
    """A page of what nodes keep: nobody adds, changes or deletes a row, but some things can be asked for.

    Attributes:
        steps: what can be asked for by a POST to `.../OBJECT/NAME/`, by a person who may change the object.
    """

    steps: tuple[str, ...] = ()

    class Media:
        css = {"all": ("duck_automations/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: old runs go by themselves, and an automation is taken away where it is declared."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """All of them."""
        return [field.name for field in self.model._meta.concrete_fields]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, which is not there to have something changed."""
        heading = {"title": capfirst(str(self.opts.verbose_name_plural))}
        return super().changelist_view(request, {**heading, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one object, which is no form."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        found = self.get_object(request, unquote(object_id))
        told = self.told(request, found) if found is not None and self.has_view_permission(request, found) else {}
        heading = {"title": str(found), "subtitle": None}
        return super().change_view(request, object_id, form_url, {**heading, **(extra_context or {}), **told})

    def told(self, request: HttpRequest, found: Any) -> dict[str, Any]:
        """What the template of an object's page is given."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        """The steps' own beside the usual ones."""
        own = [
            path(f"<path:object_id>/{step}/", self.admin_site.admin_view(self._posted(step)), name=self._url(step))
            for step in self.steps
        ]
        return [*own, *super().get_urls()]

    def _url(self, step: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{step}"

    def _posted(self, step: str) -> Callable[..., HttpResponse]:
        """The view of a step."""
        method = getattr(self, f"take_{step}")

        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            found = self.get_object(request, unquote(object_id))
            if not self.has_change_permission(request, found):
                raise PermissionDenied
            if found is None:
                raise Http404
            method(request, found)
            back = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return HttpResponseRedirect(reverse(back, args=(object_id,), current_app=self.admin_site.name))

        return update_wrapper(view, method)


class _AutomationList(ChangeList):
    """Its rows have their latest runs with them."""

    def get_results(self, request: HttpRequest) -> None:
        """See `ChangeList`."""
        super().get_results(request)
        sees = self.model_admin.sees_runs(request)  # type: ignore[attr-defined]
        for automation in self.result_list:
            automation.latest = latest_runs(automation.name, BARS) if sees else []


@admin.register(Automation)
class AutomationAdmin(_Steered):
    """Automations."""

    list_display = ("name", "when", "next_runs", "outcomes", "standing")
    search_fields = ("name", "facts")
    list_per_page = 50
    actions = ("run_chosen", "pause_chosen", "resume_chosen")
    steps = ("run", "pause", "resume")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """See `ModelAdmin`."""
        return _AutomationList

    def sees_runs(self, request: HttpRequest) -> bool:
        """Whether this person may see runs."""
        return bool(self.admin_site._registry[Run].has_view_permission(request))

    # -- columns --------------------------------------------------------------------------------------------------

    @admin.display(description="when")
    def when(self, automation: Automation) -> SafeString:
        """Its trigger, and what it is for."""
        facts = automation.facts_table
        return format_html(
            '{}<div class="help">{}</div>', facts.get("when", ""), facts.get("description") or facts.get("runs", "")
        )

    @admin.display(description="next runs")
    def next_runs(self, automation: Automation) -> SafeString | str:
        """The first of them, and when the next two follow."""
        now = _now()
        if automation.is_paused(now):
            return "-"
        coming = automation.next_times(now, 3)
        if not coming:
            return "-"
        (at, note), *others = coming
        marked = format_html(' <span class="duck-odd" title="{}">{}</span>', note, note) if note else ""
        then = format_html('<div class="help">then {}</div>', ", ".join(after(at, each) for each, _ in others))
        return format_html('<span class="nowrap">{}</span>{}{}', shown(at), marked, then if others else "")

    @admin.display(description="last outcomes")
    def outcomes(self, automation: Automation) -> SafeString | str:
        """The chart."""
        now = _now()
        runs = getattr(automation, "latest", [])
        return chart([outcome_of(run, now) for run in reversed(runs)]) or "-"

    @admin.display(description="state")
    def standing(self, automation: Automation) -> SafeString:
        """Whether it is planned."""
        return badge(*standing_of(automation, _now()))

    # -- a page ---------------------------------------------------------------------------------------------------

    def told(self, request: HttpRequest, found: Automation) -> dict[str, Any]:
        """See `_Steered`."""
        now, facts = _now(), found.facts_table
        sees = self.sees_runs(request)
        runs = latest_runs(found.name, _ON_PAGE) if sees else []
        own = ZoneInfo(facts["zone"]) if facts.get("zone") else None
        coming = [] if found.is_paused(now) else found.next_times(now, _NEXT)
        return {
            "facts": facts_rows(facts),
            "standing": badge(*standing_of(found, now)),
            "is_paused": found.is_paused(now),
            "coming": [(shown(at), shown(at, own) if own else "", note) for at, note in coming],
            "zone": str(zone()),
            "own_zone": facts.get("zone", ""),
            "chart": chart([outcome_of(run, now) for run in reversed(runs)]),
            "runs": [run_row(run, now) for run in runs],
            "sees_runs": sees,
            "spans": [(key, words) for key, (words, _) in _SPANS.items()],
            "may_change": self.has_change_permission(request, found),
        }

    # -- what can be asked for ------------------------------------------------------------------------------------

    def take_run(self, request: HttpRequest, automation: Automation) -> None:
        """Have it run now."""
        self._run(request, automation)

    def take_pause(self, request: HttpRequest, automation: Automation) -> None:
        """Pause it: for one of the spans, until a moment, or until it is resumed."""
        until: int | None = None
        span, given = request.POST.get("for", ""), request.POST.get("until", "")
        try:
            if given:
                until = round(read_local(given).timestamp() * 1e6)
            elif span:
                until = _now() + _SPANS[span][1] * 3600 * 1_000_000
        except (KeyError, ValueError, OverflowError):
            self.message_user(request, f"{given or span} is no time until which it could be paused.", messages.ERROR)
            return
        if until is not None and until <= _now():
            self.message_user(request, f"{number_shown(until)} has passed: give a later time.", messages.ERROR)
            return
        self._pause(request, automation, until)

    def take_resume(self, request: HttpRequest, automation: Automation) -> None:
        """Plan it again."""
        Store().resume(automation.name)
        self._noted(request, automation, "is planned again")

    @admin.action(description="Run selected automations now", permissions=["change"])
    def run_chosen(self, request: HttpRequest, chosen: QuerySet[Automation]) -> None:
        """Have them run now."""
        for automation in chosen:
            self._run(request, automation)

    @admin.action(description="Pause selected automations until they are resumed", permissions=["change"])
    def pause_chosen(self, request: HttpRequest, chosen: QuerySet[Automation]) -> None:
        """Pause them."""
        for automation in chosen:
            self._pause(request, automation, None)

    @admin.action(description="Resume selected automations", permissions=["change"])
    def resume_chosen(self, request: HttpRequest, chosen: QuerySet[Automation]) -> None:
        """Plan them again."""
        for automation in chosen:
            self.take_resume(request, automation)

    def _run(self, request: HttpRequest, automation: Automation) -> None:
        store, facts = Store(), automation.facts_table
        nodes = store.nodes(_SILENT_S)
        is_for_each = facts.get("run_on") == "each"
        event = json.dumps({"by": request.user.get_username()})
        for node in [each["name"] for each in nodes if each["takes_each"]] if is_for_each else [""]:
            overlap = facts.get("overlap", "skip")
            try:
                run = store.enqueue(automation.name, automation.revision, overlap, store.now(), HAND, event, node=node)
            except Crowded as error:
                self.message_user(request, str(error), messages.ERROR)
                return
            where = f" at {node}" if node else ""
            reason = f": {run['reason']}" if run["reason"] else ""
            level = messages.SUCCESS if run["state"] in OPEN else messages.WARNING
            self.message_user(request, f"Run {run['id']} of {automation.name}{where} is {run['state']}{reason}.", level)
        if not nodes:
            then = "nothing runs" if is_for_each else "it waits for the next one that comes"
            self.message_user(
                request, f"No node has said within {_SILENT_S:g} s that it is there: {then}.", messages.WARNING
            )
        self.log_change(request, automation, "Run by hand.")

    def _pause(self, request: HttpRequest, automation: Automation, until: int | None) -> None:
        store = Store()
        store.pause(automation.name, until)
        automation.paused_until = store.paused()[automation.name]
        self._noted(request, automation, f"is {paused_shown(automation.paused_until)}")

    def _noted(self, request: HttpRequest, automation: Automation, what: str) -> None:
        self.log_change(request, automation, f"It {what}.")
        self.message_user(request, f"{automation.name} {what}.", messages.SUCCESS)


@admin.register(Run)
class RunAdmin(_Steered):
    """Runs, and what they printed."""

    list_display = ("planned_at", "name", "outcome", "reason", "took", "cause", "attempt", "node")
    list_filter = ("state", "cause")
    search_fields = ("name", "reason", "node")
    show_full_result_count = False
    list_per_page = 50
    actions = ("cancel_chosen",)
    steps = ("cancel",)

    @admin.display(description="planned for", ordering="planned")
    def planned_at(self, run: Run) -> str:
        """The time that it is for."""
        return number_shown(run.planned)

    @admin.display(description="state", ordering="state")
    def outcome(self, run: Run) -> SafeString:
        """What became of it."""
        return badge(*state_of(run))

    @admin.display(description="took")
    def took(self, run: Run) -> str:
        """How long."""
        return span_shown(took_s(run, _now())) or "-"

    def told(self, request: HttpRequest, found: Run) -> dict[str, Any]:
        """See `_Steered`."""
        now = _now()
        rows = [
            ("Automation", link_to(Automation, found.name, found.name)),
            ("State", badge(*state_of(found))),
            ("Reason", found.reason),
            ("Planned for", number_shown(found.planned)),
            *cause_rows(found),
            ("Started", number_shown(found.started)),
            ("Ended", number_shown(found.ended)),
            ("Took", span_shown(took_s(found, now))),
            ("Exit code", "" if found.code is None else str(found.code)),
            ("Attempt", str(found.attempt) if found.attempt else ""),
            ("Stands for missed times", str(found.missed) if found.missed else ""),
            ("Node", found.node),
        ]
        is_open = found.state in OPEN
        return {
            "rows": [row for row in rows if row[1]],
            "output": found.output,
            "is_open": is_open,
            "may_cancel": is_open and not found.cancels and self.has_change_permission(request, found),
            "zone": str(zone()),
        }

    def take_cancel(self, request: HttpRequest, run: Run) -> None:
        """Have it end, or not start."""
        if Store().cancel(run.pk):
            self.log_change(request, run, "Cancelled.")
            self.message_user(request, f"Run {run.pk} of {run.name} is to end.", messages.SUCCESS)
        else:
            self.message_user(request, f"Run {run.pk} of {run.name} was over already.", messages.WARNING)

    @admin.action(description="Cancel selected runs", permissions=["change"])
    def cancel_chosen(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        """Have them end."""
        for run in chosen:
            self.take_cancel(request, run)
