"""A test alert, sent and waited for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from duck.app.alert_mail import JobMail
from duck.app.automation_project import ProjectSide, django_jobs, use_until
from duck.services.automations.alerts.alert import Alert
from duck.services.automations.alerts.webhook import NotTaken, post
from duck.services.inbox import Inbox

if TYPE_CHECKING:
    from duck.services.automations.alerts.channel import Channel
    from duck.settings.load import Settings

_MAIL_S: Final = 120.0


def send_test(settings: Settings, channel: Channel) -> dict[str, str]:
    """For each place of the channel why it has not taken a test alert; empty where it has."""
    alert = Alert("test", "test", "", "This is a test: what goes wrong with automations is told here.")
    values = alert.values(socket.gethostname())
    results: dict[str, str] = {}
    if channel.webhook:
        try:
            post(channel.webhook, values)
            results["webhook"] = ""
        except NotTaken as why:
            results["webhook"] = str(why)
    if channel.mail:
        results["mail"] = _mail(settings, alert, channel)
    if channel.log:
        results["log"] = ""
    return results


def _mail(settings: Settings, alert: Alert, channel: Channel) -> str:
    inbox = Inbox()
    failures: list[str] = []
    sent: list[str] = []
    of = ProjectSide(settings).for_jobs(
        settings, inbox, lambda message, text: failures.append(message), lambda text: None
    )
    if of is None:
        inbox.close()
        return "there is no Django project here, whose settings of mail it would be sent by"
    jobs = django_jobs(settings, of)
    JobMail(jobs, sent.append).send(f"[Duck] {alert.sentence}", alert.sentence + "\n", channel.mail)
    use_until(jobs, inbox, lambda: bool(sent or failures), _MAIL_S)
    return sent[0] if sent else failures[0] if failures else f"it was not sent within {_MAIL_S:g} s"
