"""A shop whose automations are kept in its database, with three weeks of history; `duck serve` dispatches them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.automation_project import write_project
from tests.load.served import Served

PASSWORD = "quack"

DUCK = """
automation_engine = "django"

[automations.invoices]
command = "check"
cron = "30 2 28 * *"
tz = "Europe/Berlin"
description = "Sends the month's invoices"

[automations.sessions]
shell = "echo removed 17 sessions"
every = "6h"
description = "Removes sessions that have ended"

[automations.import]
shell = "echo nothing new"
cron = "*/15 6-20 * * mon-fri"
description = "Fetches orders from the warehouse"
overlap = "queue_one"
timeout = "10m"
retry = 2

[automations.backup]
shell = "sleep 60"
daily_at = ["03:00"]
description = "Copies the database to the other machine"

[automations.newsletter]
shell = "echo sent"
cron = "0 9 * * tue"
"""

SETTINGS = """
TIME_ZONE = "Europe/Berlin"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_ROOT = BASE_DIR / "static"
"""

# Plain text that a page must not take for markup.
OUTPUT = """INFO 214 orders since 2026-11-28T09:45:00Z
INFO 213 imported
ERROR order 88 has no customer: <None> & "nobody"
Traceback (most recent call last):
  File "shop/orders.py", line 41, in take
    customer = customers[order["by"]]
KeyError: None
"""

HISTORY = """
import random, time
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from duck.automation.django.models import Run

call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
US = 1_000_000
random.seed(7)
now = time.time_ns() // 1000 // (60 * US) * 60 * US
plans = {
    "import": (15 * 60, 23, 4.0, {5: "failed", 6: "failed", 14: "skipped", 22: "failed"}),
    "sessions": (6 * 3600, 20, 0.4, {}),
    "backup": (86400, 18, 240.0, {3: "timed out", 9: "lost"}),
    "invoices": (30 * 86400, 6, 12.0, {2: "cancelled"}),
}
reasons = {"failed": "exit code 1", "skipped": "the run before has not ended", "timed out": "not ended within 1200 s",
           "lost": "its node shop-2:714 fell silent", "cancelled": "cancelled"}
for name, (step, count, took, others) in plans.items():
    for number in range(count):
        planned = now - (count - number) * step * US
        state = others.get(number, "succeeded")
        lasts = None if state == "skipped" else took * random.uniform(0.4, 2.2)
        ended = planned + round((lasts or 0) * US) + 12_000
        Run.objects.create(
            name=name, revision="earlier", planned=planned, once="schedule", cause="schedule", state=state,
            reason=reasons.get(state, ""), attempt=0 if state == "skipped" else 1, not_before=planned, created=planned,
            started=None if lasts is None else planned + 12_000, ended=ended, code=1 if state == "failed" else 0,
            node=f"shop-{1 + number % 2}:{700 + number % 2 * 14}" if lasts is not None else "",
            output=OUTPUT if state == "failed" else "INFO 12 orders\\n", printed=17,
        )
User.objects.create_superuser("ada", password=PASSWORD)
viewer = User.objects.create_user("eve", password=PASSWORD, is_staff=True)
viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_automation", "view_run"]))
"""


def make_site(directory: Path) -> Path:
    """The project in `directory`, with its history and two people: ada, who may do all, and eve, who may look."""
    root = write_project(directory, settings=SETTINGS, has_admin=True)
    (root / "duck.toml").write_text(DUCK)
    script = f"OUTPUT = {OUTPUT!r}\nPASSWORD = {PASSWORD!r}\n{HISTORY}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    # All by one process: each would load the project again.
    command = [sys.executable, "manage.py", "shell", "-c", script]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root


def serve(root: Path) -> Served:
    """`duck serve` of it, with the dispatcher inside."""
    duck = Served(root, workers=1, django_workers=1)
    duck.start()
    return duck
