"""What the store keeps. Moments are whole microseconds since 1970-01-01 in UTC, whatever USE_TZ says.

A column of dates would not do: without USE_TZ it holds what clocks show, where an hour of autumn comes twice.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from django.db import models

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Until then is paused what waits to be resumed.
FOREVER = (datetime.max.replace(tzinfo=timezone.utc) - _EPOCH) // timedelta(microseconds=1)


def moment_of(number: int) -> datetime:
    """What is kept as `number`."""
    return _EPOCH + timedelta(microseconds=number)


class Automation(models.Model):
    """How one automation stands, and what nodes tell of it.

    Attributes:
        since: planned times up to then have been decided on.
        paused_until: nothing is planned before; FOREVER until it is resumed.
        facts: of its declaration, for people, as JSON; empty before a node has told them.
        coming: its next planned times, each with what is odd about its day, as JSON.
        told: when a node told the last two.
    """

    name: models.CharField[str, str] = models.CharField(max_length=100, primary_key=True)
    revision: models.CharField[str, str] = models.CharField(max_length=64)
    since: models.BigIntegerField[int, int] = models.BigIntegerField()
    paused_until: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(null=True, blank=True)
    facts: models.TextField[str, str] = models.TextField(default="", blank=True)
    coming: models.TextField[str, str] = models.TextField(default="", blank=True)
    told: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def facts_table(self) -> dict[str, Any]:
        """`facts`, read."""
        table: dict[str, Any] = json.loads(self.facts or "{}")
        return table

    def is_paused(self, now: int) -> bool:
        """Whether nothing is planned at that moment."""
        return self.paused_until is not None and self.paused_until > now

    def next_times(self, now: int, count: int) -> list[tuple[datetime, str]]:
        """The first `count` planned times later than that moment, with what is odd about their days."""
        coming = [(moment_of(at), note) for at, note in json.loads(self.coming or "[]") if at > now]
        return coming[:count]


class Run(models.Model):
    """One run, as `duck.services.automations.run` describes it.

    Attributes:
        once: the cause, where that has one row for each planned time; else null, which is equal to nothing: of runs by
            hand there may be any number.
        for_node: the one that it is for; empty for any.
        size: how much `event` told when it came; null for what was queued by an older Duck.
        occasion: the digest of what it was queued for, once; null for what may be queued any number of times.
    """

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    name: models.CharField[str, str] = models.CharField(max_length=100)
    revision: models.CharField[str, str] = models.CharField(max_length=64)
    planned: models.BigIntegerField[int, int] = models.BigIntegerField()
    once: models.CharField[str | None, str | None] = models.CharField(max_length=16, null=True, blank=True)
    cause: models.CharField[str, str] = models.CharField(max_length=16)
    state: models.CharField[str, str] = models.CharField(max_length=16)
    reason: models.TextField[str, str] = models.TextField(default="", blank=True)
    attempt: models.IntegerField[int, int] = models.IntegerField(default=0)
    not_before: models.BigIntegerField[int, int] = models.BigIntegerField()
    missed: models.IntegerField[int, int] = models.IntegerField(default=0)
    event: models.TextField[str, str] = models.TextField(default="", blank=True)
    node: models.TextField[str, str] = models.TextField(default="", blank=True)
    created: models.BigIntegerField[int, int] = models.BigIntegerField()
    started: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(null=True, blank=True)
    beat: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(null=True, blank=True)
    ended: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(null=True, blank=True)
    code: models.IntegerField[int | None, int | None] = models.IntegerField(null=True, blank=True)
    output: models.TextField[str, str] = models.TextField(default="", blank=True)
    cancels: models.BooleanField[bool, bool] = models.BooleanField(default=False)
    for_node: models.CharField[str, str] = models.CharField(max_length=200, default="", blank=True)
    printed: models.BigIntegerField[int, int] = models.BigIntegerField(default=0)
    size: models.IntegerField[int | None, int | None] = models.IntegerField(null=True, blank=True)
    occasion: models.CharField[str | None, str | None] = models.CharField(max_length=64, null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "revision", "planned", "for_node", "once"], name="duck_automations_run_once"
            ),
            models.UniqueConstraint(fields=["name", "for_node", "occasion"], name="duck_automations_run_occasion"),
        ]
        indexes = [
            models.Index(fields=["state", "not_before"], name="duck_automations_run_state"),
            models.Index(fields=["name", "id"], name="duck_automations_run_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.pk})"


class Node(models.Model):
    """A node, as it last said that it is there, at `beat`; see `duck.services.automations.engine.Node`."""

    name: models.CharField[str, str] = models.CharField(max_length=200, primary_key=True)
    beat: models.BigIntegerField[int, int] = models.BigIntegerField()
    ahead_s: models.FloatField[float, float] = models.FloatField(default=0.0)
    takes_each: models.BooleanField[bool, bool] = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Told(models.Model):
    """What one node has said for all that saw it, by the digest of its key."""

    key: models.CharField[str, str] = models.CharField(max_length=64, primary_key=True)
    at: models.BigIntegerField[int, int] = models.BigIntegerField()

    def __str__(self) -> str:
        return self.key


class Execution(models.Model):
    """One attempt at a run that somebody else than its node carries out, such as a Celery worker.

    Attributes:
        task: what the broker calls it.
        beats: how often its worker has said that it goes on.
        state: `running`, `waiting`, or how it ended.
        waits_s: for how long its worker has put it off, where it waits.
    """

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    run: models.ForeignKey[Run, Run] = models.ForeignKey(Run, models.CASCADE, related_name="executions")
    attempt: models.IntegerField[int, int] = models.IntegerField()
    task: models.CharField[str, str] = models.CharField(max_length=255)
    worker: models.CharField[str, str] = models.CharField(max_length=255)
    begun: models.BigIntegerField[int, int] = models.BigIntegerField()
    beats: models.IntegerField[int, int] = models.IntegerField(default=0)
    state: models.CharField[str, str] = models.CharField(max_length=16)
    waits_s: models.FloatField[float, float] = models.FloatField(default=0.0)
    reason: models.TextField[str, str] = models.TextField(default="", blank=True)
    output: models.TextField[str, str] = models.TextField(default="", blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt"], name="duck_automations_execution_once"),
        ]

    def __str__(self) -> str:
        return self.task
