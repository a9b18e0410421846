"""Scheduled work of this project. `duck runserver` and `duck serve` run it; `duck automations next` shows when.

Here and in `automations.py` of any Django application.
"""

from duck.automation import automation, cron


@automation(cron("30 3 * * *"), timeout="10m", retry=2)
def clear_sessions(ctx):
    """Delete the sessions that have expired from Django's database."""
    from django.core.management import call_command

    ctx.log.info("planned for %s", ctx.scheduled_for)
    call_command("clearsessions")
