"""What the admin pages do, by Django's test client: copied into a project, and run by its own `manage.py test`."""

import json
import re
from datetime import datetime, timedelta, timezone

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, TestCase
from django.urls import reverse

from duck.automation.django.models import FOREVER, Automation, Run
from duck.automation.django.store import Store

HOUR_US = 3_600_000_000
EVIL = "<script>alert('quack')</script>"


class AdminTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.store = Store()
        cls.store.register([["nightly", "r1"], ["a.b-c_d", "r1"]])
        cls.store.join("node")
        cls.now = cls.store.now()
        facts = {"when": "cron 30 2 * * *", "zone": "Europe/Berlin", "runs": f"shell echo {EVIL}", "overlap": "skip"}
        facts |= {"planned": True, "description": EVIL}
        coming = [[cls.now + number * HOUR_US, ""] for number in range(1, 7)]
        coming[1][1] = "clocks go back by 1 h at 03:00"
        cls.store.beat("node", [], [["nightly", json.dumps(facts), json.dumps(coming)]])
        for number, (state, reason) in enumerate((("succeeded", ""), ("failed", EVIL), ("succeeded", ""))):
            due = {"name": "nightly", "revision": "r1", "overlap": "skip", "planned": cls.now + number + 1}
            cls.store.claim([{**due, "runs": True, "reason": "", "missed": 0, "each": False}])
            (run,) = cls.store.take("node", {"process": 1}, {"nightly": ["process", "skip", 2**52, 0]})
            cls.store.finish(run["id"], "node", 1, state, reason, 0, f"printed {EVIL}\n")
        cls.chief = User.objects.create_superuser("chief", password="x")
        cls.viewer = cls.person("viewer", "view_automation", "view_run")
        cls.half = cls.person("half", "view_automation")
        cls.changer = cls.person("changer", "view_automation", "change_automation", "view_run", "change_run")
        cls.nobody = cls.person("nobody")

    @classmethod
    def person(cls, name, *permissions):
        person = User.objects.create_user(name, password="x", is_staff=True)
        person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        return person

    def url(self, name="change", key="nightly", model="automation"):
        return reverse(f"admin:duck_automations_{model}_{name}", args=() if name == "changelist" else (key,))

    def page(self, person, *where, status=200, **more):
        self.client.force_login(person)
        answer = self.client.get(self.url(*where, **more))
        self.assertEqual(answer.status_code, status)
        return answer.content.decode()

    def post(self, person, name, status=302, key="nightly", model="automation", **data):
        self.client.force_login(person)
        answer = self.client.post(self.url(name, key, model), data)
        self.assertEqual(answer.status_code, status)
        return answer


class PermissionTests(AdminTestCase):
    def test_who_may_not_look_sees_nothing(self):
        for where in ("changelist", "change"):
            self.page(self.nobody, where, status=403)
        self.page(self.nobody, "change", Run.objects.first().pk, "run", status=403)
        self.client.logout()
        self.assertEqual(self.client.get(self.url()).status_code, 302)

    def test_who_may_look_is_offered_nothing_and_can_do_nothing(self):
        self.assertNotIn("Run now", self.page(self.viewer))
        self.assertNotIn("Run selected", self.page(self.viewer, "changelist"))
        for step in ("run", "pause", "resume"):
            self.post(self.viewer, step, 403)
        run = Run.objects.create(name="nightly", revision="r1", planned=1, not_before=1, created=1, state="queued")
        self.assertNotIn("Cancel this run", self.page(self.viewer, "change", run.pk, "run"))
        self.post(self.viewer, "cancel", 403, run.pk, "run")
        self.post(self.viewer, "changelist", 200, action="run_chosen", _selected_action=["nightly"])
        self.assertEqual(Run.objects.filter(cause="hand").count(), 0)

    def test_who_may_see_automations_alone_sees_no_runs(self):
        page = self.page(self.half)
        self.assertNotIn("Last runs", page)
        self.assertNotIn("duck-chart", page + self.page(self.half, "changelist"))

    def test_nobody_adds_changes_or_deletes_rows(self):
        self.client.force_login(self.chief)
        self.assertEqual(self.client.get("/admin/duck_automations/automation/add/").status_code, 403)
        self.assertEqual(self.client.get(self.url("delete")).status_code, 403)
        self.post(self.chief, "change", 405, revision="other")
        self.post(self.chief, "change", 405, Run.objects.first().pk, "run", state="succeeded")

    def test_a_step_needs_a_post_with_the_token(self):
        for step in ("run", "pause", "resume"):
            self.page(self.chief, step, status=405)
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.chief)
        self.assertEqual(client.post(self.url("run")).status_code, 403)
        page = client.get(self.url()).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        self.assertEqual(client.post(self.url("run"), {"csrfmiddlewaretoken": token}).status_code, 302)

    def test_what_is_not_there_is_said(self):
        self.post(self.chief, "run", 404, "unknown")


class PageTests(AdminTestCase):
    def test_the_list_shows_when_what_comes_and_what_was(self):
        page = self.page(self.viewer, "changelist")
        self.assertIn("cron 30 2 * * *", page)
        self.assertIn('aria-label="Last 3 runs: 2 succeeded, 1 failed; the last one succeeded"', page)
        self.assertIn('<span class="duck-badge duck-good">planned</span>', page)
        self.assertIn("no node has told of it yet", page)
        self.assertIn("then ", page)

    def test_what_others_have_said_is_escaped_everywhere(self):
        failed = Run.objects.get(state="failed")
        pages = [self.page(self.chief, "changelist"), self.page(self.chief)]
        pages.append(self.page(self.chief, "changelist", model="run"))
        pages.append(self.page(self.chief, "change", failed.pk, "run"))
        for page in pages:
            self.assertNotIn(EVIL, page)
            self.assertIn("&lt;script&gt;alert(", page)

    def test_a_page_shows_five_times_and_marks_odd_days(self):
        page = self.page(self.viewer)
        rows = page.partition("<caption>Next runs</caption>")[2].partition("</table>")[0]
        self.assertEqual(rows.count("<tr>"), 6)
        self.assertEqual(rows.count('<span class="duck-odd">clocks go back by 1 h at 03:00</span>'), 1)
        self.assertIn("Europe/Berlin", rows)

    def test_times_that_have_passed_are_not_shown_as_coming(self):
        coming = json.dumps([[self.now - HOUR_US, "gone"], [self.now + HOUR_US, "to come"]])
        self.store.beat("node", [], [["nightly", "{}", coming]])
        page = self.page(self.viewer)
        self.assertIn("to come", page)
        self.assertNotIn("gone", page)

    def test_what_no_node_tells_of_any_more_is_said(self):
        Automation.objects.filter(name="nightly").update(told=self.now - 4 * HOUR_US)
        self.assertIn("not declared, or no node, since", self.page(self.viewer))

    def test_a_name_with_dots_has_a_page(self):
        self.assertIn("It has not run yet.", self.page(self.viewer, "change", "a.b-c_d"))

    def test_a_runs_page_shows_its_output(self):
        run = Run.objects.filter(state="succeeded").first()
        page = self.page(self.viewer, "change", run.pk, "run")
        self.assertIn('<pre class="duck-output" tabindex="0">printed &lt;script&gt;', page)
        self.assertIn(self.url(), page)

    def test_who_has_run_it_by_hand_is_said(self):
        run = Run(name="nightly", revision="r1", planned=1, not_before=1, created=1, state="queued", cause="hand")
        for event, cause in ((json.dumps({"by": "chief"}), "hand, by chief"), ("", "hand")):
            run.event = event
            run.save()
            page = self.page(self.viewer, "change", run.pk, "run")
            self.assertIn(f">{cause}</td>", page)
            self.assertNotIn("Told by the event", page)

    def test_what_waits_for_another_try_takes_no_time(self):
        run = Run.objects.create(
            name="nightly", revision="r1", planned=1, not_before=1, created=1, state="queued", started=1, attempt=1
        )
        self.assertNotIn("Took", self.page(self.viewer, "change", run.pk, "run"))
        Run.objects.filter(pk=run.pk).update(state="running")
        self.assertIn("Took", self.page(self.viewer, "change", run.pk, "run"))

    def test_lists_have_their_own_names_and_reasons_before_what_a_narrow_window_cuts(self):
        self.client.force_login(self.viewer)
        for model, name in (("automation", "Automations"), ("run", "Runs")):
            page = self.client.get(self.url("changelist", model=model)).content.decode()
            self.assertIn(f"<h1>{name}</h1>", page)
        self.assertLess(page.index("column-reason"), page.index("column-node"))

    def test_runs_of_one_automation_are_listed(self):
        self.client.force_login(self.viewer)
        page = self.client.get(self.url("changelist", model="run") + "?name=nightly").content.decode()
        self.assertIn("3 runs", page)
        page = self.client.get(self.url("changelist", model="run") + "?name=other&state=failed").content.decode()
        self.assertIn("0 runs", page)


class StepTests(AdminTestCase):
    def standing(self):
        return Automation.objects.get(name="nightly")

    def messages(self, answer):
        return " ".join(str(each) for each in self.client.get(answer.url).context["messages"])

    def test_run_now_queues_one_and_says_who_wanted_it(self):
        said = self.messages(self.post(self.changer, "run"))
        run = Run.objects.get(cause="hand")
        self.assertEqual((run.state, json.loads(run.event)), ("queued", {"by": "changer"}))
        self.assertIn(f"Run {run.pk} of nightly is queued.", said)
        self.assertEqual(LogEntry.objects.get().change_message, "Run by hand.")

    def test_what_runs_on_each_node_is_queued_for_each(self):
        self.store.join("other")
        self.store.beat("node", [], [["nightly", json.dumps({"run_on": "each"}), "[]"]])
        said = self.messages(self.post(self.changer, "run"))
        self.assertIn("of nightly at node is queued. Run", said)
        self.assertEqual(set(Run.objects.filter(cause="hand").values_list("for_node", flat=True)), {"node", "other"})

    def test_where_no_node_is_there_that_is_said(self):
        self.store.leave("node")
        said = self.messages(self.post(self.changer, "run"))
        self.assertIn("is queued. No node has said within 30 s that it is there: it waits for the next", said)

    def test_beside_one_that_waits_it_is_skipped_and_that_is_said(self):
        self.post(self.changer, "run")
        self.assertIn("is skipped: a run is waiting already.", self.messages(self.post(self.changer, "run")))

    def test_a_pause_holds_until_it_is_resumed(self):
        self.post(self.changer, "pause")
        self.assertEqual(self.standing().paused_until, FOREVER)
        page = self.page(self.changer)
        self.assertIn("paused until it is resumed", page)
        self.assertIn("Nothing is planned while it is paused.", page)
        self.post(self.changer, "resume")
        self.assertIsNone(self.standing().paused_until)

    def test_or_for_a_span_or_until_a_moment_of_the_clocks_that_are_shown(self):
        self.post(self.changer, "pause", **{"for": "8h"})
        self.assertAlmostEqual(self.standing().paused_until, self.store.now() + 8 * HOUR_US, delta=60_000_000)
        later = (datetime.now(timezone.utc) + timedelta(days=400)).replace(month=7, day=1, hour=10, minute=30)
        self.post(self.changer, "pause", until=f"{later:%Y-%m-%dT%H:%M}")
        told = datetime.fromtimestamp(self.standing().paused_until / 1e6, timezone.utc)
        self.assertEqual(f"{told:%m-%d %H:%M}", "07-01 08:30")

    def test_a_time_that_is_none_or_has_passed_is_refused_with_a_sentence(self):
        for given, sentence in ((("until", "soon"), "is no time"), (("until", "2020-01-01T00:00"), "has passed")):
            self.assertIn(sentence, self.messages(self.post(self.changer, "pause", **dict([given]))))
        self.assertIn("is no time", self.messages(self.post(self.changer, "pause", **{"for": "9y"})))
        self.assertIsNone(self.standing().paused_until)

    def test_chosen_ones_are_run_paused_and_resumed(self):
        for action in ("run_chosen", "pause_chosen", "resume_chosen"):
            chosen = {"action": action, "_selected_action": ["nightly", "a.b-c_d"]}
            self.post(self.changer, "changelist", **chosen)
            if action == "pause_chosen":
                self.assertEqual(self.store.paused(), {"nightly": FOREVER, "a.b-c_d": FOREVER})
        self.assertEqual(Run.objects.filter(cause="hand").count(), 2)
        self.assertEqual(self.store.paused(), {})

    def test_a_run_is_cancelled(self):
        self.post(self.changer, "run")
        run = Run.objects.get(cause="hand")
        self.assertIn("Cancel this run", self.page(self.changer, "change", run.pk, "run"))
        self.post(self.changer, "cancel", 302, run.pk, "run")
        run.refresh_from_db()
        self.assertEqual(run.state, "cancelled")
        self.assertIn("was over already", self.messages(self.post(self.changer, "cancel", 302, run.pk, "run")))

    def test_one_that_runs_is_asked_to_end(self):
        self.post(self.changer, "run")
        (run,) = self.store.take("node", {"process": 1}, {"nightly": ["process", "skip", 2**52, 0]})
        self.post(self.changer, "changelist", 302, model="run", action="cancel_chosen", _selected_action=[run["id"]])
        self.assertIn("is to end", self.page(self.changer, "change", run["id"], "run"))
        self.assertEqual(self.store.beat("node", [run["id"]]), [run["id"]])
